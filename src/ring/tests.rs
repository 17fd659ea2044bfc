//! What needs no second thread, and is too far inside to be reached through the ends.

use crate::ring::barrier::{Barrier, Distance, Upstream};
use crate::ring::lines::{Lines, Marks};
use crate::ring::multi::MultiSequencer;
use crate::ring::sequencer::Sequencer;
use crate::ring::single::SingleSequencer;
use crate::ring::slots::{Slots, is_published, mark_in};
use crate::ring::{Kind, Ring};

/// An event of so many bytes.
type Event<const SIZE: usize> = [u8; SIZE];

#[test]
fn a_byte_tells_64_laps_back_and_63_ahead() {
    for lap in 0..=255_u8 {
        for ahead in 0..=255_u8 {
            let mark = mark_in(lap.wrapping_add(ahead));
            for flag in 0..=1 {
                // laps are counted modulo 128: there is no more in a byte
                let expected = ahead % 128 < 64;
                assert_eq!(is_published(mark | flag, lap), expected, "{lap} {ahead}");
            }
        }
    }
}

fn walk<const SIZE: usize>(marks: Marks, capacity: u64) {
    let slots = Slots::new(marks, capacity, || [0_u8; SIZE]).expect("it is small");
    let (per_line, _) = slots.next_line(0);
    let lines = capacity.div_ceil(per_line).next_power_of_two();
    for line in 0..258 * lines {
        let (_, [next, after]) = slots.next_line(line * per_line);
        assert_eq!(next, after, "line {line}");
        assert_eq!(after.end(), (line + 2) * per_line);
    }
}

#[test]
fn the_place_after_is_that_of_the_next_line() {
    for marks in [Marks::Word, Marks::Bytes] {
        for capacity in [1, 2, 16, 64] {
            walk::<0>(marks, capacity);
            walk::<1>(marks, capacity);
            walk::<8>(marks, capacity);
            walk::<28>(marks, capacity);
            walk::<29>(marks, capacity);
            walk::<600>(marks, capacity);
        }
    }
}

/// How many bytes an event of a large ring takes.
fn bytes_each<const SIZE: usize>(marks: Marks) -> usize {
    let lines = Lines::new(marks, 1024, || [0_u8; SIZE]).expect("it is small");
    lines.bytes / 1024
}

#[test]
fn memory_is_what_the_configuration_says() {
    use Marks::{Bytes, Word};
    let few = [
        bytes_each::<1>(Word),
        bytes_each::<2>(Word),
        bytes_each::<3>(Word),
    ];
    assert_eq!(few, [2, 4, 4]);
    assert_eq!([bytes_each::<1>(Bytes), bytes_each::<3>(Bytes)], [8; 2]);
    for marks in [Word, Bytes] {
        assert_eq!(
            [
                bytes_each::<0>(marks),
                bytes_each::<4>(marks),
                bytes_each::<7>(marks)
            ],
            [8; 3]
        );
        assert_eq!([bytes_each::<8>(marks), bytes_each::<14>(marks)], [16; 2]);
        assert_eq!([bytes_each::<15>(marks), bytes_each::<28>(marks)], [32; 2]);
        assert_eq!([bytes_each::<29>(marks), bytes_each::<32>(marks)], [40; 2]);
        assert_eq!([bytes_each::<33>(marks), bytes_each::<64>(marks)], [48, 72]);
    }
}

fn ring<const SIZE: usize>(kind: Kind, capacity: usize) -> Ring<Event<SIZE>> {
    Ring::new(kind, capacity, 1, false, || [0_u8; SIZE]).expect("it is small")
}

#[test]
fn distances_fit_the_ring() {
    let of = |kind, capacity, pauses| {
        let distance = Distance::new(&ring::<8>(kind, capacity), pauses);
        (distance.pauses, distance.events, distance.far)
    };
    // seven of them are in a line, 112 in the kilobyte that a processor fetches ahead
    assert_eq!(of(Kind::Single, 8192, 64), (64, 112, 2048));
    assert_eq!(of(Kind::Multi, 8192, 64), (256, 112, 2048));
    assert_eq!(of(Kind::Single, 8192, 4096), (1024, 112, 2048));
    assert_eq!(of(Kind::Multi, 64, 64), (8, 2, 16));
    assert_eq!(of(Kind::Single, 64, 1), (1, 2, 16));
    assert_eq!(of(Kind::Single, 8, 64), (1, 0, 2));
    assert_eq!(of(Kind::Single, 1, 64), (0, 0, 0));
    assert_eq!(of(Kind::Single, 8192, 0), (0, 0, 2048));
}

/// The end of what a reader gets that has read to `next`, and whether it counts as at the tail then.
fn read<T>(barrier: &Barrier, ring: &Ring<T>, next: u64, most: u64) -> (u64, bool) {
    let end = barrier
        .available(ring, next, most)
        .expect("it was passed")
        .range()
        .end;
    (end, barrier.at_tail.get())
}

#[test]
fn a_reader_of_a_stream_stops_short_of_its_producer() {
    let ring = ring::<8>(Kind::Single, 64); // leaves two events alone, needs no pause with 16 before it
    let barrier = Barrier::new(Upstream::Producers, Distance::new(&ring, 1));
    let pass = |end| SingleSequencer::new().pass(&ring.core, end);
    // nothing is marked: what is read from here on is read by the position alone
    pass(30);
    barrier.at_tail.set(true);
    barrier.keep_distance(&ring.core, || 0);
    assert_eq!((barrier.stay_below.get(), barrier.far.get()), (28, true));
    assert_eq!(read(&barrier, &ring, 0, 10), (10, false));
    assert_eq!(read(&barrier, &ring, 10, 17), (27, false));
    barrier.keep_distance(&ring.core, || 27);
    assert_eq!(barrier.stay_below.get(), 28, "it is not at the tail");
    // it reaches exactly where it stops, with one event: that is no stream
    assert_eq!(read(&barrier, &ring, 27, 1), (28, false));
    // with several it is at the tail, be it as many as it might take
    assert_eq!(read(&barrier, &ring, 18, 10), (28, true));
    assert_eq!(read(&barrier, &ring, 18, 64), (28, true));
    pass(32);
    barrier.keep_distance(&ring.core, || 28);
    assert_eq!((barrier.stay_below.get(), barrier.far.get()), (30, false));
    assert!(!barrier.at_tail.get());
}

#[test]
fn without_pauses_there_is_no_distance() {
    let ring = ring::<8>(Kind::Single, 64);
    let barrier = Barrier::new(Upstream::Producers, Distance::new(&ring, 0));
    SingleSequencer::new().pass(&ring.core, 30);
    barrier.at_tail.set(true);
    barrier.keep_distance(&ring.core, || 0);
    assert_eq!((barrier.stay_below.get(), barrier.far.get()), (0, false));
}

#[test]
fn a_cursor_joins_where_producers_are_and_its_entry_is_taken_again_once_it_is_given_back() {
    let ring = Ring::new(Kind::Single, 4, 2, true, || 0_u64).expect("it is small");
    let (graph, fits) = ring.core.add_reader(false);
    assert!(fits && graph == 0);
    SingleSequencer::new().pass(&ring.core, 3);
    let joined = ring.join().expect("there is room");
    let (index, position) = (joined.index, joined.position);
    assert_eq!((index, position), (1, 3));
    let entry = ring.core.table.entry(index);
    assert_eq!(entry.cursor.own_position(), 3);
    assert_eq!(ring.join(), None, "the table is full");

    entry.cursor.counters.count_batch(7);
    entry.cursor.retire();
    assert_eq!(ring.join(), None, "its handle is still there");
    entry.give_back();
    assert!(entry.snapshot().is_retired());
    SingleSequencer::new().pass(&ring.core, 4);
    let joined = ring.join().expect("it was given back");
    assert_eq!((joined.index, joined.position), (1, 4));
    assert!(!entry.snapshot().is_retired());
    assert_eq!(entry.cursor.counters.events.get(), 0, "another's");
}

#[test]
fn a_cursor_that_joined_holds_producers_back() {
    let ring = Ring::new(Kind::Single, 4, 2, true, || 0_u64).expect("it is small");
    let (graph, _) = ring.core.add_reader(false);
    SingleSequencer::new().pass(&ring.core, 3);
    ring.core.table.entry(graph).cursor.advance(3);
    let least = |own| ring.core.table.refresh(own).map(|least| least.position);
    assert_eq!(least(3), Some(3));
    assert!(ring.join().is_some());
    ring.core.table.entry(graph).cursor.advance(4);
    assert_eq!(least(4), Some(3), "the new cursor counts");
}

#[test]
fn where_several_publish_a_cursor_joins_where_something_is_not_published() {
    let ring = Ring::new(Kind::Multi, 4, 4, true, || 0_u64).expect("it is small");
    ring.core.add_reader(false);
    let mut producers = [MultiSequencer::new(), MultiSequencer::new()];
    let [first, second] = &mut producers;
    let claim = |one: &mut MultiSequencer| one.reserve(&ring, 1, 1).expect("there is room");
    let (early, late) = (claim(first), claim(second));
    let joined = || ring.join().expect("there is room").position;
    assert_eq!(joined(), 0);
    second.claim(&ring, late).publish();
    assert_eq!(joined(), 0, "the first claim is still in progress");
    first.claim(&ring, early).publish();
    assert_eq!(joined(), 2);
}

#[test]
fn readers_count_only_while_somebody_does() {
    let ring = Ring::new(Kind::Multi, 2, 2, true, || 0_u64).expect("it is small");
    let (graph, _) = ring.core.add_reader(false);
    let joined = ring.join().expect("there is room");
    assert!(ring.core.count_reader());
    assert!(!ring.core.retire(graph, None), "one is left");
    assert!(ring.core.is_open());
    assert!(ring.core.retire(joined.index, None));
    assert!(!ring.core.is_open() && !ring.core.count_reader());
}
