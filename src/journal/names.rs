//! Names of a journal's files, but for those of segments: `docs/format.md` lists them.

/// Locked by the writer.
pub(crate) const LOCK: &str = ".lock";
/// Begins the name of a file that is to become a segment.
pub(crate) const NEXT: &str = ".next-";
/// Begins the name of a segment that was removed, to be used again; its name follows.
pub(crate) const SPARE: &str = ".spare-";
/// Begins the name of a segment that was damaged when the journal was salvaged; its name follows.
pub(crate) const DAMAGED: &str = ".damaged-";
/// Begins the name of a consumer's position; its name follows.
pub(crate) const POSITION: &str = ".position-";
/// The same, of one that is being made.
pub(crate) const UNBORN_POSITION: &str = ".unborn-position-";
