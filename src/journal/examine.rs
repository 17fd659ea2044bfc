//! What opening a journal would find, with nothing changed; also beside a writer, under which files grow, come and go meanwhile.

use crate::error::{Error, ErrorKind};
use crate::journal::decision::{Decision, Found};
use crate::journal::recovery::{
    Recovery, Seen, Survey, corruption, decide, report, sort_names, survey_segment, walk,
};
use crate::journal::scan::{Shape, io_error};
use crate::journal::storage::Storage;
use std::collections::HashMap;

/// So many times a directory is looked at that is another one each time.
const LOOKS: usize = 100;

/// First sequence and salt.
type Name = (u64, u64);

/// What recovery would report. `seen` is told every whole frame, once, of every segment that was there.
pub(crate) fn examine(
    storage: &dyn Storage,
    shape: Shape,
    seen: &mut Seen<'_>,
) -> Result<Recovery, Error> {
    let mut survey = Survey {
        found: Vec::new(),
        unfinished: Vec::new(),
        ignored: Vec::new(),
        shape,
    };
    for _ in 0..LOOKS {
        let before = list(storage, &mut survey)?;
        let looked = look(storage, &mut survey, &before, seen);
        let judged = looked.and_then(|()| judge(storage, &mut survey, seen));
        // what is said counts if it is about the files that are there
        let after = list(storage, &mut survey)?;
        let known = survey.found.len();
        survey
            .found
            .retain(|found| after.binary_search(&name(found)).is_ok() && is_there(storage, found));
        if before == after && known == survey.found.len() {
            return judged;
        }
    }
    let path = storage.path("");
    let text = format!(
        "{}: its segments come and go faster than they can be read",
        path.display()
    );
    Err(Error::new(ErrorKind::JournalIo, text))
}

/// Surveys what was not there before, and goes on where a segment has grown.
fn look(
    storage: &dyn Storage,
    survey: &mut Survey,
    listed: &[Name],
    seen: &mut Seen<'_>,
) -> Result<(), Error> {
    let known = std::mem::take(&mut survey.found).into_iter();
    let mut known: HashMap<Name, Found> = known.map(|found| (name(&found), found)).collect();
    for segment in listed {
        let surveyed = match known.remove(segment) {
            Some(mut found) => {
                found.behind = None;
                go_on(storage, survey.shape, &mut found, seen).map(|()| found)
            }
            None => survey_segment(storage, *segment, survey.shape, seen),
        };
        match surveyed {
            Ok(found) => survey.found.push(found),
            Err(error) => {
                survey.found.extend(known.into_values()); // not to be read twice
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Decides, walks on, and decides again. What is written between the walk up to the end and the look behind it seems to be behind damage, and what is
/// even synced seems to be lost. But before a frame that was seen there all others had been written: one more walk finds them.
fn judge(
    storage: &dyn Storage,
    survey: &mut Survey,
    seen: &mut Seen<'_>,
) -> Result<Recovery, Error> {
    decide(storage, survey)?;
    let shape = survey.shape;
    for found in survey
        .found
        .iter_mut()
        .filter(|found| found.behind.is_some())
    {
        go_on(storage, shape, found, seen)?;
    }
    match decide(storage, survey)? {
        Decision::Keep { remove, keep, cut } => Ok(report(survey, &remove, &keep, &cut)),
        Decision::Corrupt(damage) => Err(corruption(storage, survey, &damage)),
    }
}

/// Takes in the frames that were added to a segment.
fn go_on(
    storage: &dyn Storage,
    shape: Shape,
    found: &mut Found,
    seen: &mut Seen<'_>,
) -> Result<(), Error> {
    if found.header.is_err() {
        return Ok(());
    }
    let name = found.segment.name();
    let file = storage
        .open(&name, false)
        .map_err(|error| io_error(storage, &name, "read it", error))?;
    walk(storage, &name, file, found, shape, seen)
}

/// Whether nobody has cut it since.
fn is_there(storage: &dyn Storage, found: &Found) -> bool {
    let file = storage.open(&found.segment.name(), false);
    let len = file.and_then(|file| file.len());
    len.is_ok_and(|len| len >= found.segment.bytes)
}

fn name(found: &Found) -> Name {
    (found.segment.first, found.segment.salt)
}

fn list(storage: &dyn Storage, survey: &mut Survey) -> Result<Vec<Name>, Error> {
    let names = storage.list();
    let names = names.map_err(|error| io_error(storage, "", "list the directory", error))?;
    let (segments, unfinished, ignored) = sort_names(names);
    (survey.unfinished, survey.ignored) = (unfinished, ignored);
    Ok(segments)
}
