//! The rules that hold for a whole graph of stages. Pure: names and edges in, an error out.
//!
//! Cycles cannot be written: a stage comes after stages that exist already, so edges point to lower indices.

use crate::config::validate_name;
use crate::error::{Error, ErrorKind};
use crate::rejoin::misplaced;

/// What the rules need to know of a stage.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// Stages that this one comes after; all have lower indices.
    pub(crate) after: Vec<usize>,
    /// Whether it edits events.
    pub(crate) mutates: bool,
    /// It reads copies, and keeps no bus open.
    pub(crate) is_tap: bool,
    /// It reads on in the journal when it lags.
    pub(crate) replays: bool,
}

/// Checks a complete graph; `journal`: which node is the journal's. `unread`: producers go on when there is no stage.
pub(crate) fn check(nodes: &[Node], journal: Option<usize>, unread: bool) -> Result<(), Error> {
    if nodes.is_empty() || (!unread && nodes.iter().all(|node| node.is_tap)) {
        let text = "the topology has no stage (a tap is none), so nobody would read: add one with topology.stage(name)";
        return Err(Error::new(ErrorKind::NoStages, text));
    }
    for (index, node) in nodes.iter().enumerate() {
        check_name(&node.name, &nodes[..index])?;
    }
    check_mutation(nodes)?;
    match nodes.iter().find(|node| node.replays) {
        Some(tap) => check_replay(nodes, journal).map_err(|why| misplaced(&tap.name, &why)),
        None => Ok(()),
    }
}

/// What the journal has is what a tap gets from the ring, if every stage that edits comes before it. Else why not.
pub(crate) fn check_replay(nodes: &[Node], journal: Option<usize>) -> Result<(), String> {
    let Some(journal) = journal else {
        let why =
            "the bus has none: add one with topology.stage(name).journal(journal), before the tap";
        return Err(why.into());
    };
    let before = ancestors(nodes);
    let mut editors = (0..nodes.len()).filter(|&node| nodes[node].mutates);
    match editors.find(|&editor| !before[journal][editor]) {
        Some(editor) => Err(format!(
            "stage `{}` edits events after the journal has recorded them: let the journal come after it with .after([..])",
            nodes[editor].name
        )),
        None => Ok(()),
    }
}

fn check_name(name: &str, others: &[Node]) -> Result<(), Error> {
    validate_name(name)?;
    if others.iter().any(|other| other.name == name) {
        let text = format!("two stages are named `{name}`: give each a name of its own");
        return Err(Error::new(ErrorKind::DuplicateStage, text).with_stage(name));
    }
    Ok(())
}

/// A stage that edits events must come before or after each other stage, or both would touch an event at the same time.
fn check_mutation(nodes: &[Node]) -> Result<(), Error> {
    let before = ancestors(nodes);
    for (index, node) in nodes.iter().enumerate().filter(|(_, node)| node.mutates) {
        let ordered = |other: usize| other == index || before[index][other] || before[other][index];
        if let Some(other) = (0..nodes.len()).find(|&other| !ordered(other)) {
            let (name, other) = (&node.name, &nodes[other].name);
            let text = format!(
                "stage `{name}` edits events while `{other}` may read them: make one come after the other with .after([..])"
            );
            return Err(Error::new(ErrorKind::MutationRace, text).with_stage(name));
        }
    }
    Ok(())
}

/// `[a][b]`: stage `b` comes before stage `a`.
fn ancestors(nodes: &[Node]) -> Vec<Vec<bool>> {
    let mut before: Vec<Vec<bool>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let mut row = vec![false; nodes.len()];
        for &parent in &node.after {
            row[parent] = true;
            row.iter_mut()
                .zip(&before[parent])
                .for_each(|(mine, theirs)| *mine |= theirs);
        }
        before.push(row);
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(nodes: &[(&str, &[usize], bool)]) -> Result<(), ErrorKind> {
        let nodes: Vec<_> = nodes
            .iter()
            .map(|&(name, after, mutates)| Node {
                name: name.into(),
                after: after.into(),
                mutates,
                is_tap: name.starts_with("tap"),
                replays: name.ends_with("replays"),
            })
            .collect();
        let journal = nodes.iter().position(|node| node.name == "journal");
        check(&nodes, journal, false).map_err(|error| error.kind())
    }

    #[test]
    fn names() {
        assert_eq!(kind(&[]), Err(ErrorKind::NoStages));
        assert_eq!(kind(&[("tap", &[], false)]), Err(ErrorKind::NoStages));
        assert_eq!(kind(&[("", &[], false)]), Err(ErrorKind::InvalidConfig));
        assert_eq!(kind(&[("a\0b", &[], false)]), Err(ErrorKind::InvalidConfig));
        assert_eq!(
            kind(&[("a", &[], false), ("a", &[0], false)]),
            Err(ErrorKind::DuplicateStage)
        );
        assert_eq!(kind(&[("a", &[], false), ("b", &[], false)]), Ok(()));
    }

    #[test]
    fn who_edits_is_ordered_with_everybody() {
        let race = Err(ErrorKind::MutationRace);
        assert_eq!(kind(&[("edit", &[], true), ("read", &[0], false)]), Ok(()));
        assert_eq!(kind(&[("edit", &[], true), ("read", &[], false)]), race);
        assert_eq!(kind(&[("read", &[], false), ("edit", &[0], true)]), Ok(()));
        assert_eq!(kind(&[("a", &[], true), ("b", &[], true)]), race);
        assert_eq!(kind(&[("edit", &[], true), ("tap", &[], false)]), race);
        assert_eq!(kind(&[("edit", &[], true), ("tap", &[0], false)]), Ok(()));
        // a tap that replays gets what was edited, from the journal too
        let misplaced = Err(ErrorKind::JournalMisplaced);
        let graph = |edit: &'static [usize], journal: &'static [usize], first| {
            let mut nodes = [("edit", edit, true), ("journal", journal, false)];
            if first {
                nodes.swap(0, 1);
            }
            kind(&[nodes[0], nodes[1], ("tap replays", &[0, 1], false)])
        };
        assert_eq!(graph(&[], &[0], false), Ok(()));
        assert_eq!(graph(&[0], &[], true), misplaced);
        assert_eq!(
            kind(&[("a", &[], false), ("tap replays", &[], false)]),
            misplaced
        );
        // a diamond with an editor at its end, beside it, and in one arm
        assert_eq!(
            kind(&[
                ("a", &[], true),
                ("b", &[0], false),
                ("c", &[0], false),
                ("d", &[1, 2], true)
            ]),
            Ok(())
        );
        assert_eq!(
            kind(&[
                ("a", &[], true),
                ("b", &[0], false),
                ("c", &[0], true),
                ("d", &[1, 2], false)
            ]),
            race
        );
        // order that follows only through a third stage
        assert_eq!(
            kind(&[("a", &[], false), ("b", &[0], false), ("c", &[1], true)]),
            Ok(())
        );
    }
}
