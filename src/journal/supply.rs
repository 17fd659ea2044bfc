//! The next segment's file, ready before it is needed: blocks that were written once cost half to sync.

use crate::affinity::unpin_current_thread;
use crate::journal::format::{parse_segment_name, seed};
use crate::journal::names::{NEXT, SPARE};
use crate::journal::storage::{File, Storage, write_all};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Zeros are written in pieces of this: larger ones make later small writes several times slower.
const PIECE: usize = 64 << 10;
/// So many bytes of them are synced at a time, so that ending never waits long.
const SYNCED: u64 = 4 << 20;
/// So many files wait to be used again; others are removed.
const SPARES_MAX: usize = 1;

/// A file that is to become a segment: under a hidden name, and no frame in it passes with this salt.
pub(crate) struct Prepared {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn File>,
    pub(crate) salt: u64,
}

/// An empty file.
pub(crate) fn plain(storage: &dyn Storage) -> io::Result<Prepared> {
    let salt = storage.random();
    let name = format!("{NEXT}{salt:016x}");
    let file = storage.create(&name)?;
    Ok(Prepared { name, file, salt })
}

/// Whether there is room for so many bytes of a file, and for as many as the segment that grows may still need.
fn has_room(storage: &dyn Storage, bytes: u64, segment_bytes: u64) -> bool {
    let needed = bytes.saturating_add(segment_bytes);
    storage.room().is_ok_and(|room| room > needed)
}

/// An empty file whose blocks are its own already, if the system has so many in one: writes that are never synced are a third faster then.
pub(crate) fn reserved(storage: &dyn Storage, bytes: u64) -> io::Result<Prepared> {
    let prepared = plain(storage)?;
    if has_room(storage, bytes, bytes) && prepared.file.reserve(bytes).is_err() {
        let _ = prepared.file.truncate(0); // others took the room
    }
    Ok(prepared)
}

/// The name under which a removed segment waits.
pub(crate) fn spare_name(segment: &str) -> String {
    format!("{SPARE}{segment}")
}

/// Removes what an earlier life left: nothing of it belongs to the journal.
pub(crate) fn clean(storage: &dyn Storage) -> io::Result<()> {
    for name in storage.list()? {
        if name.starts_with(NEXT) || name.starts_with(SPARE) {
            storage.remove(&name)?;
        }
    }
    Ok(())
}

enum Order {
    Prepare,
    /// The hidden name of a removed segment.
    Spare(String),
}

/// A thread that prepares one file at a time. Dropping it ends the thread.
///
/// It must not take the last room from the journal that it serves: it begins, and goes on, only while there is room for the file and for another one
/// as large, which is what the segment that grows may still need.
pub(crate) struct Supply {
    storage: Arc<dyn Storage>,
    /// `None`: at its end.
    orders: Option<Sender<Order>>,
    /// `None` for a file that could not be prepared: whoever needs one makes it, and meets the error.
    ready: Receiver<Option<Prepared>>,
    /// One was ordered that did not come yet.
    is_ordered: bool,
    worker: Where,
}

/// Who does the work.
enum Where {
    /// `None`: at its end.
    Beside(Option<JoinHandle<()>>),
    /// Whoever orders it, at once.
    Here(Worker),
}

impl Supply {
    /// Of files with so many bytes. `None`: there is no thread for it.
    pub(crate) fn start(storage: &Arc<dyn Storage>, bytes: u64) -> Option<Self> {
        let (orders, ordered) = channel();
        let (sender, ready) = channel();
        let worker = Worker {
            storage: storage.clone(),
            bytes,
            orders: ordered,
            ready: sender,
            spares: VecDeque::new(),
        };
        let worker = match storage.has_threads() {
            true => Where::Beside(Some(worker.start().ok()?)),
            false => Where::Here(worker),
        };
        let mut supply = Self {
            storage: storage.clone(),
            orders: Some(orders),
            ready,
            is_ordered: false,
            worker,
        };
        supply.order_one();
        Some(supply)
    }

    /// The file that is ready, and another one is begun; `None`: it is not ready, and may be for the next time.
    pub(crate) fn take(&mut self) -> Option<Prepared> {
        if !self.is_ordered {
            self.order_one();
            return None;
        }
        let answer = self.ready.try_recv().ok();
        self.taken(answer)
    }

    /// The same, waiting for it, but no longer than this. `None`: it cannot be had, or takes longer.
    pub(crate) fn wait(&mut self, most: Duration) -> Option<Prepared> {
        let answer = self.ready.recv_timeout(most).ok();
        self.taken(answer)
    }

    /// After one that could not be prepared, the next is ordered when one is needed again: until then there will hardly be more room.
    fn taken(&mut self, answer: Option<Option<Prepared>>) -> Option<Prepared> {
        let answer = answer?;
        self.is_ordered = false;
        if answer.is_some() {
            self.order_one();
        }
        answer
    }

    /// Leaves a removed segment to be used again, or removed for good.
    pub(crate) fn leave(&mut self, spare: String) {
        self.order(Order::Spare(spare));
    }

    fn order_one(&mut self) {
        self.order(Order::Prepare);
        self.is_ordered = true;
    }

    fn order(&mut self, order: Order) {
        if let Some(orders) = &self.orders {
            // a thread that panicked prepares nothing more, and nobody depends on it
            let _ = orders.send(order);
        }
        if let Where::Here(worker) = &mut self.worker {
            while let Ok(order) = worker.orders.try_recv() {
                worker.obey(order);
            }
        }
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.orders = None;
        match &mut self.worker {
            Where::Beside(thread) => drop(thread.take().map(JoinHandle::join)),
            Where::Here(worker) => worker.end(),
        }
        for prepared in self.ready.try_iter().flatten() {
            // if it stays, the next open removes it
            let _ = self.storage.remove(&prepared.name);
        }
    }
}

struct Worker {
    storage: Arc<dyn Storage>,
    bytes: u64,
    orders: Receiver<Order>,
    ready: Sender<Option<Prepared>>,
    spares: VecDeque<String>,
}

impl Worker {
    fn start(mut self) -> io::Result<JoinHandle<()>> {
        let thread = Builder::new().name("journal-prepare".into());
        thread.spawn(move || {
            // it works beside whoever opens the journal, be that a pinned thread
            unpin_current_thread();
            while let Ok(order) = self.orders.recv() {
                self.obey(order);
            }
            self.end();
        })
    }

    fn obey(&mut self, order: Order) {
        match order {
            // nobody takes it any more if all is ending: then it is removed by whoever opens the journal next
            Order::Prepare => {
                let prepared = self.prepare();
                let _ = self.ready.send(prepared);
            }
            Order::Spare(name) => self.keep(name),
        }
    }

    fn end(&mut self) {
        for spare in self.spares.drain(..) {
            let _ = self.storage.remove(&spare);
        }
    }

    fn keep(&mut self, spare: String) {
        if self.spares.len() < SPARES_MAX {
            self.spares.push_back(spare);
        } else {
            let _ = self.storage.remove(&spare);
        }
    }

    fn prepare(&mut self) -> Option<Prepared> {
        while let Some(spare) = self.spares.pop_front() {
            match self.recycle(&spare) {
                Ok(Some(prepared)) => return Some(prepared),
                Ok(None) | Err(_) => {
                    let _ = self.storage.remove(&spare);
                }
            }
        }
        if !self.has_room(self.bytes) {
            return None;
        }
        let prepared = plain(&*self.storage).ok()?;
        if !matches!(self.zero(&*prepared.file), Ok(true)) {
            let _ = self.storage.remove(&prepared.name);
            return None;
        }
        Some(prepared)
    }

    fn has_room(&self, bytes: u64) -> bool {
        has_room(&*self.storage, bytes, self.bytes)
    }

    /// `None`: it is too short to be used again.
    fn recycle(&self, spare: &str) -> io::Result<Option<Prepared>> {
        let file = self.storage.open(spare, true)?;
        let len = file.len()?;
        if len < self.bytes {
            return Ok(None);
        }
        let old = spare.strip_prefix(SPARE).and_then(parse_segment_name);
        let salt = self.fresh_salt(old.map(|(_, salt)| salt));
        let name = format!("{NEXT}{salt:016x}");
        self.storage.rename(spare, &name)?;
        // before a byte of it is overwritten or cut off: else a loss of power might bring its old name back, with new bytes under it
        let synced = self.storage.sync().and_then(|()| match len > self.bytes {
            true => file.truncate(self.bytes).and_then(|()| file.sync()),
            false => Ok(()),
        });
        if let Err(error) = synced {
            let _ = self.storage.remove(&name);
            return Err(error);
        }
        Ok(Some(Prepared { name, file, salt }))
    }

    /// That of a segment in a file that was one with the salt `old`: no old frame may pass.
    fn fresh_salt(&self, old: Option<u64>) -> u64 {
        loop {
            let salt = self.storage.random();
            if old.is_none_or(|old| seed(old) != seed(salt)) {
                return salt;
            }
        }
    }

    /// `false`: it was told to end, or others took the room.
    fn zero(&mut self, file: &dyn File) -> io::Result<bool> {
        let zeros = vec![0; PIECE];
        let mut done = 0;
        while done < self.bytes {
            match self.orders.try_recv() {
                Ok(Order::Spare(name)) => self.keep(name),
                // one is ordered only when the one before it was taken
                Ok(Order::Prepare) | Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
            let piece = (self.bytes - done).min(PIECE as u64);
            write_all(file, &zeros[..piece as usize], done)?;
            done += piece;
            if done.is_multiple_of(SYNCED) {
                if !self.has_room(self.bytes - done) {
                    return Ok(false);
                }
                file.sync()?;
            }
        }
        file.sync()?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::format::segment_name;
    use crate::journal::testing::{Failing, Folder};

    const BYTES: u64 = (PIECE as u64) * 3 / 2;
    /// No test waits so long.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn files_are_zeroed_and_gone_when_nobody_took_them() {
        let folder = Folder::new();
        let storage = folder.disk();
        let mut supply = Supply::start(&storage, BYTES).expect("a thread can be had");
        let first = supply.wait(LONG).expect("there is room");
        assert_eq!(first.file.len().unwrap(), BYTES);
        let second = supply.wait(LONG).expect("there is room");
        assert_ne!((first.salt, &first.name), (second.salt, &second.name));
        drop(supply);
        let mut left = storage.list().unwrap();
        left.sort();
        let mut taken = [first.name, second.name];
        taken.sort();
        assert_eq!(left, taken, "a third one was ready, or half done");
        clean(&*storage).unwrap();
        assert!(storage.list().unwrap().is_empty());
    }

    #[test]
    fn a_removed_segment_is_used_again_once_its_name_is_durably_gone() {
        let folder = Folder::new();
        let (storage, calls) = Failing::over(folder.disk());
        let mut supply = Supply::start(&storage, BYTES).expect("a thread can be had");
        let spares: Vec<String> = [(0, BYTES + 5), (1, BYTES), (2, BYTES)]
            .map(|(first, bytes)| {
                let name = spare_name(&segment_name(first, 7));
                let file = storage.create(&name).unwrap();
                write_all(&*file, &vec![b'x'; bytes as usize], 0).unwrap();
                name
            })
            .to_vec();
        for spare in &spares {
            supply.leave(spare.clone());
        }
        supply.wait(LONG).expect("the one that was begun before");
        calls.take();
        let recycled = loop {
            let next = supply.wait(LONG).expect("there is room");
            let mut byte = [0];
            next.file.read_at(&mut byte, 0).unwrap();
            if byte == [b'x'] {
                break next;
            }
        };
        assert_eq!(recycled.file.len().unwrap(), BYTES);
        assert_ne!(recycled.salt, 7);
        let calls = calls.take();
        let renamed = calls
            .iter()
            .position(|(verb, name)| *verb == "rename" && *name == recycled.name);
        let renamed = renamed.expect("it got another name");
        assert_eq!(calls[renamed + 1].0, "sync directory");
        drop(supply);
        let left = storage.list().unwrap();
        assert!(!left.iter().any(|name| name.starts_with(SPARE)), "{left:?}");
    }

    #[test]
    fn what_cannot_be_prepared_is_not_waited_for_and_tried_again_only_when_one_is_needed() {
        let folder = Folder::new();
        let (storage, calls) = Failing::over(folder.disk());
        calls.fail(|verb, _| verb == "write");
        let mut supply = Supply::start(&storage, BYTES).expect("a thread can be had");
        assert!(supply.wait(LONG).is_none());
        calls.fail(|_, _| false);
        calls.take();
        assert!(supply.wait(Duration::from_millis(20)).is_none());
        assert_eq!(calls.take(), [], "nothing was ordered");
        assert!(supply.take().is_none(), "it is ordered now");
        assert!(supply.wait(LONG).is_some(), "another time it may");
        assert!(supply.wait(LONG).is_some(), "and the next one was begun");
    }

    #[test]
    fn the_room_that_the_journal_needs_is_left_to_it() {
        let folder = Folder::new();
        let (storage, calls) = Failing::over(folder.disk());
        calls.room(2 * BYTES);
        let mut supply = Supply::start(&storage, BYTES).expect("a thread can be had");
        assert!(supply.wait(LONG).is_none());
        assert_eq!(calls.take(), [], "not a byte was tried");
        calls.room(2 * BYTES + 1);
        assert!(supply.take().is_none(), "it is ordered now");
        assert!(supply.wait(LONG).is_some());
    }

    #[test]
    fn room_that_others_take_meanwhile_ends_it() {
        let folder = Folder::new();
        let (storage, calls) = Failing::over(folder.disk());
        let (left, bytes) = (calls.clone(), 2 * SYNCED);
        calls.fail(move |verb, _| {
            if verb == "write" {
                left.room(bytes);
            }
            false
        });
        let mut supply = Supply::start(&storage, bytes).expect("a thread can be had");
        assert!(supply.wait(LONG).is_none());
        let written = calls.take();
        let written = written.iter().filter(|(verb, _)| *verb == "write").count();
        assert_eq!(written as u64, SYNCED / PIECE as u64, "half of it");
        assert_eq!(storage.list().unwrap(), [""; 0], "nothing is left of it");
    }

    #[test]
    fn nobody_waits_longer_than_he_likes() {
        let folder = Folder::new();
        let (storage, calls) = Failing::over(folder.disk());
        let (go, going) = channel::<()>();
        let going = std::sync::Mutex::new(going);
        calls.fail(move |verb, _| {
            if verb == "write" {
                let _ = going.lock().expect("no test panics in it").recv();
            }
            false
        });
        let mut supply = Supply::start(&storage, BYTES).expect("a thread can be had");
        assert!(supply.wait(Duration::from_millis(1)).is_none());
        drop(go);
        assert!(supply.wait(LONG).is_some(), "it comes later");
    }

    #[test]
    fn the_thread_may_use_every_core_whoever_starts_it() {
        use crate::affinity::{caller_is_pinned, cores, pin_current_thread};
        let starter = std::thread::spawn(|| {
            pin_current_thread(cores()[0]).expect("it is one of them");
            let folder = Folder::new();
            let (storage, calls) = Failing::over(folder.disk());
            // asked by the thread that prepares; nothing fails if it is not pinned
            calls.fail(|_, _| caller_is_pinned());
            let mut supply = Supply::start(&storage, BYTES).expect("a thread can be had");
            assert!(supply.wait(LONG).is_some(), "it inherited the core");
        });
        starter.join().expect("it is not pinned");
    }

    #[test]
    fn a_short_spare_is_removed() {
        let folder = Folder::new();
        let storage = folder.disk();
        let name = spare_name(&segment_name(0, 7));
        storage.create(&name).unwrap();
        let mut supply = Supply::start(&storage, BYTES).expect("a thread can be had");
        supply.leave(name);
        for _ in 0..3 {
            let next = supply.wait(LONG).expect("there is room");
            assert_eq!(next.file.len().unwrap(), BYTES);
        }
        let left = storage.list().unwrap();
        assert!(!left.iter().any(|name| name.starts_with(SPARE)), "{left:?}");
    }
}
