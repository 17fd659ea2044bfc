//! A queue of requests shared with the system.

pub(crate) use ring::Uring;

#[cfg(target_os = "linux")]
mod ring {
    use crate::Answer;
    use crate::ways::{Way, options};
    use io_uring::squeue::Flags;
    use io_uring::{IoUring, opcode, types};
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::path::Path;

    /// A write, and an `fdatasync` that begins when it is done.
    pub(crate) struct Uring {
        file: File,
        /// `None` once it refused requests, which it would else still have.
        ring: Option<IoUring>,
    }

    impl Way for Uring {
        const DURABLE: bool = true;

        fn open(path: &Path, _: u64) -> Answer<Self> {
            let file = options().open(path)?;
            let ring = Some(IoUring::new(2)?);
            Ok(Self { file, ring })
        }

        fn write(&mut self, block: &[u8], offset: u64) -> Answer {
            let mut ring = self.ring.take().ok_or("it has refused before")?;
            let file = types::Fd(self.file.as_raw_fd());
            let bytes = u32::try_from(block.len())?;
            let write = opcode::Write::new(file, block.as_ptr(), bytes).offset(offset);
            let sync = opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC);
            let requests = [write.build().flags(Flags::IO_LINK), sync.build()];
            // SAFETY: file and block are there until both requests have completed: this returns only then, or when the system has
            // taken neither, and then the queue is dropped with what is in it.
            unsafe { ring.submission().push_multiple(&requests) }?;
            ring.submit_and_wait(requests.len())?;
            while ring.completion().len() < requests.len() {
                // a signal may end the wait, and nothing may end this before the requests
                let _ = ring.submit_and_wait(requests.len());
            }
            let results: Vec<i32> = ring.completion().map(|it| it.result()).collect();
            if let Some(error) = results.iter().find(|result| **result < 0) {
                return Err(io::Error::from_raw_os_error(-error).into());
            }
            self.ring = Some(ring);
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod ring {
    use crate::Answer;
    use crate::ways::Way;
    use std::io;
    use std::path::Path;

    /// Elsewhere there is none.
    pub(crate) enum Uring {}

    impl Way for Uring {
        const DURABLE: bool = true;

        fn open(_: &Path, _: u64) -> Answer<Self> {
            Err(io::Error::from(io::ErrorKind::Unsupported).into())
        }

        fn write(&mut self, _: &[u8], _: u64) -> Answer {
            match *self {}
        }
    }
}
