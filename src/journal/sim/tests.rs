//! That the simulation loses what it may lose, all of it, and nothing else.

use super::inode::SECTOR;
use super::*;

fn content(storage: &SimStorage, name: &str) -> Option<Vec<u8>> {
    storage.files().get(name).cloned()
}

#[test]
fn what_is_synced_is_kept_and_all_else_may_or_may_not_be() {
    let mut outcomes = BTreeMap::new();
    for seed in 0..400 {
        let sim = SimStorage::new(seed);
        let file = sim.create("a").expect("works");
        file.write_at(&[1; 4 * SECTOR], 0).expect("works");
        file.sync().expect("works");
        Storage::sync(&sim).expect("works");
        file.write_at(&[2; 2 * SECTOR], SECTOR as u64)
            .expect("works");
        file.write_at(&[3; SECTOR], SECTOR as u64).expect("works");
        sim.create("b").expect("works");
        sim.rename("b", "c").expect("works");
        let crashed = sim.crash(seed);
        assert!(file.len().is_err(), "the old one is dead");
        let bytes = content(&crashed, "a").expect("its name was synced");
        let of = |sector: usize| bytes[sector * SECTOR];
        assert!(
            bytes
                .chunks(SECTOR)
                .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
        );
        assert_eq!((bytes.len(), of(0), of(3)), (4 * SECTOR, 1, 1));
        let names: Vec<String> = crashed.files().into_keys().collect();
        *outcomes.entry((of(1), of(2))).or_insert(0) += 1;
        *outcomes
            .entry((names.len() as u8, names[names.len() - 1].as_bytes()[0]))
            .or_insert(0) += 1;
        assert_eq!(
            crashed.crash(seed).files(),
            crashed.files(),
            "nothing is left to lose"
        );
    }
    for sectors in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)] {
        assert!(
            outcomes.contains_key(&sectors),
            "{sectors:?} in {outcomes:?}"
        );
    }
    for names in [(1, b'a'), (2, b'b'), (2, b'c')] {
        assert!(outcomes.contains_key(&names), "{names:?} in {outcomes:?}");
    }
}

#[test]
fn a_failed_sync_is_forgotten_by_the_next_and_the_system_may_show_what_it_lost_or_not() {
    let (mut kept, mut lost, mut evicted) = (0, 0, 0);
    for seed in 0..100 {
        let sim = SimStorage::new(seed);
        let file = sim.create("a").expect("works");
        Storage::sync(&sim).expect("works");
        file.write_at(&[1; SECTOR], 0).expect("works");
        sim.plan(Plan {
            fail: Some((Op::Sync, 0, EIO)),
            ..Plan::default()
        });
        assert_eq!(file.sync().expect_err("planned").raw_os_error(), Some(EIO));
        file.sync().expect("lies");
        assert!(sim.lied());
        let killed = sim.kill(seed);
        let read = content(&killed, "a").expect("it is there");
        match content(&killed.crash(seed), "a").expect("its name was synced") {
            bytes if bytes == [1; SECTOR] => kept += 1,
            _ if read == [1; SECTOR] => lost += 1,
            _ => evicted += 1,
        }
    }
    let all = [kept, lost, evicted];
    assert!(all.iter().all(|count| *count > 5), "{all:?}");
}

#[test]
fn names_that_a_failed_sync_did_not_write_are_forgotten() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..100 {
        let sim = SimStorage::new(seed);
        sim.create("a").expect("works");
        sim.plan(Plan {
            fail: Some((Op::SyncDirectory, 0, EIO)),
            ..Plan::default()
        });
        Storage::sync(&sim).expect_err("planned");
        Storage::sync(&sim).expect_err("none counts any more");
        assert!(sim.files().contains_key("a"), "it is still seen");
        let after = match seed % 2 {
            0 => sim.kill(seed),
            _ => sim.crash(seed),
        };
        let there = after.files().contains_key("a");
        *(if there { &mut kept } else { &mut lost }) += 1;
        Storage::sync(&after).expect("another process");
    }
    assert!(kept > 5 && lost > 5, "{kept} {lost}");
}

#[test]
fn every_kind_of_call_fails_as_planned() {
    let sim = SimStorage::new(1);
    let file = sim.create("a").expect("works");
    let plan = |plan| sim.plan(plan);
    plan(Plan {
        fail: Some((Op::Write, 1, ENOSPC)),
        ..Plan::default()
    });
    assert_eq!(file.write_at(&[1; 8], 0).expect("the first works"), 8);
    let error = file.write_at(&[2; 8], 0).expect_err("the second fails");
    assert_eq!(error.raw_os_error(), Some(ENOSPC));
    assert_eq!(sim.calls(), 2);
    plan(Plan {
        space: Some(10),
        ..Plan::default()
    });
    assert_eq!(file.write_at(&[1; 20], 4).expect("some fit"), 14);
    assert!(file.write_at(&[1; 20], 18).is_err());
    plan(Plan {
        read_only: Some(0),
        ..Plan::default()
    });
    assert!(sim.create("b").is_err() && file.truncate(0).is_err() && sim.list().is_ok());
    plan(Plan {
        gone: Some(0),
        ..Plan::default()
    });
    assert!(sim.list().is_err() && sim.open("a", false).is_err() && file.len().is_ok());
    assert!(file.sync().is_err() && sim.is_gone());
    plan(Plan {
        power_off: Some(1),
        ..Plan::default()
    });
    assert!(file.len().is_ok() && file.len().is_err());
    plan(Plan::default());
    assert!(file.len().is_err(), "it stays off");
}
