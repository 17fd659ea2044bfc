//! What a journal needs for a run: a folder, and how events become bytes.

use crate::payload::Payload;
use ringway::{Codec, StageError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder of its own among the temporary ones, gone with this.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes nothing: the journal does.
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringway-burst-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is a temporary file too many, and changes no result.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The words of an event, little-endian.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<const WORDS: usize>;

impl<const WORDS: usize> Codec for Words<WORDS> {
    type Event = Payload<WORDS>;

    fn id(&self) -> u64 {
        u64::from_le_bytes(*b"burst  1")
    }

    fn event_bytes(&self) -> u32 {
        size_of::<Payload<WORDS>>() as u32
    }

    fn encode(&self, event: &Payload<WORDS>, bytes: &mut Vec<u8>) -> Result<(), StageError> {
        event
            .words()
            .iter()
            .for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Payload<WORDS>, StageError> {
        let mut words = [0; WORDS];
        let (chunks, rest) = bytes.as_chunks::<8>();
        if chunks.len() != WORDS || !rest.is_empty() {
            return Err(format!("{} bytes are no event of {WORDS} words", bytes.len()).into());
        }
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = u64::from_le_bytes(*chunk);
        }
        Ok(Payload::from_words(words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_comes_back_and_a_part_of_it_does_not() {
        let (event, mut bytes) = (Payload::<2>::new(0, 7), Vec::new());
        Words.encode(&event, &mut bytes).expect("it cannot fail");
        assert_eq!(Words.decode(&bytes).expect("all of it"), event);
        assert!(Words::<2>.decode(&bytes[..15]).is_err());
        assert_eq!(bytes.len() as u32, Words::<2>.event_bytes());
    }

    #[test]
    fn a_folder_is_gone_with_its_owner() {
        let folder = Folder::new();
        let path = folder.path().to_owned();
        std::fs::create_dir(&path).expect("it is new");
        drop(folder);
        assert!(!path.exists());
    }
}
