//! Misuse that the types refuse, each beside a twin that differs in nothing else and compiles. What belongs to the
//! documentation of one item stands there; this is the rest, and is compiled by `rustdoc --test` alone.
//!
//! # Which ends go to other threads
//!
//! Events that must stay on their thread:
//! ```compile_fail,E0277
//! ringway::spsc::<std::rc::Rc<u64>>(4);
//! ```
//! ```
//! ringway::spsc::<std::sync::Arc<u64>>(4);
//! ```
//! ```compile_fail,E0277
//! ringway::Topology::single(ringway::BusConfig::default(), || std::rc::Rc::new(0));
//! ```
//! ```
//! ringway::Topology::single(ringway::BusConfig::default(), || std::sync::Arc::new(0));
//! ```
//!
//! Every end goes to another thread with events that may:
//! ```compile_fail,E0277
//! fn sent<T: Send>() {}
//! sent::<ringway::Producer<std::rc::Rc<u64>>>();
//! ```
//! ```compile_fail,E0277
//! fn sent<T: Send>() {}
//! sent::<ringway::Consumer<std::rc::Rc<u64>, ringway::Exclusive>>();
//! ```
//! ```compile_fail,E0277
//! fn sent<T: Send>() {}
//! sent::<ringway::Worker<std::rc::Rc<u64>, ringway::Exclusive>>();
//! ```
//! ```compile_fail,E0277
//! fn sent<T: Send>() {}
//! sent::<ringway::AsyncConsumer<std::rc::Rc<u64>>>();
//! ```
//! ```compile_fail,E0277
//! fn sent<T: Send>() {}
//! sent::<ringway::Batch<'static, std::rc::Rc<u64>, ringway::Exclusive>>();
//! ```
//! ```compile_fail,E0277
//! fn sent<T: Send>() {}
//! sent::<ringway::Bus<std::rc::Rc<u64>>>();
//! ```
//! ```compile_fail,E0277
//! fn sent<T: Send>() {}
//! sent::<ringway::PublishFuture<'static, std::rc::Rc<u64>>>();
//! ```
//! ```compile_fail,E0277
//! fn sent<T: Send>() {}
//! sent::<ringway::ReadFuture<'static, std::rc::Rc<u64>>>();
//! ```
//! ```
//! use ringway::*;
//! fn sent<T: Send>() {}
//! sent::<Producer<std::cell::Cell<u64>>>();
//! sent::<Producer<std::cell::Cell<u64>, Multi>>();
//! sent::<Consumer<std::cell::Cell<u64>, Exclusive>>();
//! sent::<Worker<std::cell::Cell<u64>, Exclusive>>();
//! sent::<AsyncConsumer<u64>>();
//! sent::<Batch<'static, std::cell::Cell<u64>, Exclusive>>();
//! sent::<Bus<std::cell::Cell<u64>>>();
//! sent::<PublishFuture<'static, std::cell::Cell<u64>>>();
//! sent::<ReadFuture<'static, u64>>();
//! sent::<Topology<std::cell::Cell<u64>, Single>>();
//! sent::<Error>();
//! ```
//!
//! One end serves one thread at a time:
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<ringway::Consumer<u64>>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<ringway::Worker<u64>>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<ringway::AsyncConsumer<u64>>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<ringway::Claim<'static, u64>>();
//! ```
//! ```
//! use ringway::*;
//! fn shared<T: Sync>() {}
//! shared::<Bus<std::cell::Cell<u64>>>();
//! shared::<Batch<'static, u64, Shared>>();
//! shared::<Error>();
//! shared::<Stage>();
//! shared::<Producer<u64, Multi>>();
//! ```
//! ```compile_fail,E0499
//! let (mut tx, _rx) = ringway::spsc::<u64>(4);
//! std::thread::scope(|scope| {
//!     scope.spawn(|| tx.publish(1));
//!     scope.spawn(|| tx.publish(2));
//! });
//! ```
//! ```
//! let (mut tx, _rx) = ringway::mpsc::<u64>(4);
//! let mut other = tx.clone();
//! std::thread::scope(|scope| {
//!     scope.spawn(|| tx.publish(1));
//!     scope.spawn(|| other.publish(2));
//! });
//! ```
//!
//! # What is lent to several threads at once
//!
//! The iterators of a batch give `&T`, and are copied; so they stay on their thread unless `T` may be shared, even where
//! the batch itself may go elsewhere:
//! ```compile_fail,E0277
//! use std::cell::Cell;
//! let (mut tx, mut rx) = ringway::spsc::<Cell<u64>>(4);
//! tx.publish(Cell::new(0)).unwrap();
//! let batch = rx.read().unwrap();
//! let (one, other) = (batch.iter(), batch.iter());
//! std::thread::scope(|scope| {
//!     scope.spawn(move || one.for_each(|event| event.set(1)));
//!     other.for_each(|event| event.set(2));
//! });
//! ```
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
//! let (mut tx, mut rx) = ringway::spsc::<AtomicU64>(4);
//! tx.publish(AtomicU64::new(0)).unwrap();
//! let batch = rx.read().unwrap();
//! let (one, other) = (batch.iter(), batch.iter());
//! std::thread::scope(|scope| {
//!     scope.spawn(move || one.for_each(|event| event.store(1, Relaxed)));
//!     other.for_each(|event| event.store(2, Relaxed));
//! });
//! ```
//! ```compile_fail,E0277
//! fn sent<T: Send>() {}
//! sent::<ringway::Iter<'static, std::cell::Cell<u64>>>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<ringway::IterMut<'static, std::cell::Cell<u64>>>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<ringway::Drain<'static, std::cell::Cell<u64>>>();
//! ```
//! ```
//! fn sent<T: Send>() {}
//! fn shared<T: Sync>() {}
//! sent::<ringway::Iter<'static, u64>>();
//! sent::<ringway::IterMut<'static, std::cell::Cell<u64>>>();
//! sent::<ringway::Drain<'static, std::cell::Cell<u64>>>();
//! shared::<ringway::IterMut<'static, u64>>();
//! ```
//!
//! Stages that look at an event at the same time need events that may be shared; one that has them to itself does not:
//! ```compile_fail,E0277
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || std::cell::Cell::new(0)).unwrap();
//! topology.stage("reads").handle(|event, _| event.set(1));
//! ```
//! ```compile_fail,E0277
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || std::cell::Cell::new(0)).unwrap();
//! topology.stage("reads").consumer();
//! ```
//! ```compile_fail,E0277
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || std::cell::Cell::new(0)).unwrap();
//! topology.stage("reads").workers();
//! ```
//! ```compile_fail,E0277
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || std::cell::Cell::new(0)).unwrap();
//! topology.stage("reads").async_consumer();
//! ```
//! ```compile_fail,E0277
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || std::cell::Cell::new(0)).unwrap();
//! topology.stage("reads").share(2, |_| |event: &std::cell::Cell<u64>, _| event.set(1));
//! ```
//! ```
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || std::cell::Cell::new(0)).unwrap();
//! let edits = topology.stage("edits").handle_mut(|event, _| event.set(1));
//! topology.stage("takes").after([edits]).consumer_mut();
//! ```
//! A handler that must stay on its thread:
//! ```compile_fail,E0277
//! use ringway::{BusConfig, Topology};
//! let count = std::rc::Rc::new(std::cell::Cell::new(0));
//! let mut topology = Topology::single(BusConfig::default(), || 0_u64).unwrap();
//! topology.stage("counts").handle(move |_, _| count.set(count.get() + 1));
//! ```
//! ```
//! use ringway::{BusConfig, Topology};
//! let count = std::cell::Cell::new(0);
//! let mut topology = Topology::single(BusConfig::default(), || 0_u64).unwrap();
//! topology.stage("counts").handle(move |_, _| count.set(count.get() + 1));
//! ```
//!
//! # How long what is lent may be kept
//!
//! An event after its handler:
//! ```compile_fail,E0521
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || 0_u64).unwrap();
//! let mut kept: Option<&u64> = None;
//! topology.stage("keeps").handle(move |event, _| kept = Some(event));
//! ```
//! ```compile_fail,E0521
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || 0_u64).unwrap();
//! let mut kept: Option<&mut u64> = None;
//! topology.stage("keeps").handle_mut(move |event, _| kept = Some(event));
//! ```
//! ```
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || 0_u64).unwrap();
//! let mut kept: Option<u64> = None;
//! topology.stage("keeps").handle(move |event, _| kept = Some(*event));
//! ```
//! A key that borrows from its event:
//! ```compile_fail
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), String::new).unwrap();
//! topology.stage("keyed").share_by(2, |event: &String| event.as_str(), |_| |_: &String, _| ());
//! ```
//! ```
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), String::new).unwrap();
//! topology.stage("keyed").share_by(2, |event: &String| event.len(), |_| |_: &String, _| ());
//! ```
//! A batch after its consumer, and after its worker:
//! ```compile_fail,E0505
//! let (mut tx, mut rx) = ringway::spsc::<u64>(4);
//! tx.publish(1).unwrap();
//! let batch = rx.read().unwrap();
//! drop(rx);
//! assert_eq!(batch.len(), 1);
//! ```
//! ```
//! let (mut tx, mut rx) = ringway::spsc::<u64>(4);
//! tx.publish(1).unwrap();
//! let batch = rx.read().unwrap();
//! assert_eq!(batch.len(), 1);
//! drop(batch);
//! drop(rx);
//! ```
//! ```compile_fail,E0499
//! let (mut tx, mut rx) = ringway::spmc::<u64>(4);
//! tx.publish_batch([1, 2]).unwrap();
//! let batch = rx.read().unwrap();
//! assert_eq!(rx.read().unwrap().len(), batch.len());
//! ```
//! ```
//! let (mut tx, mut rx) = ringway::spmc::<u64>(4);
//! tx.publish_batch([1, 2]).unwrap();
//! let len = rx.read().unwrap().len();
//! assert_eq!(len, 2);
//! ```
//! An event after its batch:
//! ```compile_fail,E0505
//! let (mut tx, mut rx) = ringway::spsc::<String>(4);
//! tx.publish("a".into()).unwrap();
//! let batch = rx.read().unwrap();
//! let event = batch.iter().next().unwrap();
//! drop(batch);
//! assert_eq!(event, "a");
//! ```
//! ```
//! let (mut tx, mut rx) = ringway::spsc::<String>(4);
//! tx.publish("a".into()).unwrap();
//! let mut batch = rx.read().unwrap();
//! let event = batch.drain().next().unwrap();
//! drop(batch);
//! assert_eq!(event, "a");
//! ```
//! A slot after its claim was published, and a producer while its claim is not:
//! ```compile_fail,E0505
//! let (mut tx, _rx) = ringway::spsc::<u64>(4);
//! let mut claim = tx.claim(1).unwrap();
//! let slot = claim.iter_mut().next().unwrap();
//! claim.publish();
//! *slot = 1;
//! ```
//! ```compile_fail,E0499
//! let (mut tx, _rx) = ringway::spsc::<u64>(4);
//! let claim = tx.claim(1).unwrap();
//! tx.publish(1).unwrap();
//! claim.publish();
//! ```
//! ```
//! let (mut tx, _rx) = ringway::spsc::<u64>(4);
//! let mut claim = tx.claim(1).unwrap();
//! let slot = claim.iter_mut().next().unwrap();
//! *slot = 1;
//! claim.publish();
//! tx.publish(1).unwrap();
//! ```
//! A future after its end, and two at once:
//! ```compile_fail,E0499
//! let (mut tx, _rx) = ringway::mpsc::<u64>(4);
//! let futures = [tx.publish_async(1), tx.publish_async(2)];
//! ```
//! ```
//! let (mut tx, _rx) = ringway::mpsc::<u64>(4);
//! let mut other = tx.clone();
//! let futures = [tx.publish_async(1), other.publish_async(2)];
//! ```
//! Events that borrow, on a bus with threads of its own; a queue takes them:
//! ```compile_fail,E0597
//! use ringway::{BusConfig, Topology};
//! let text = String::from("a");
//! let mut topology = Topology::single(BusConfig::default(), || text.as_str()).unwrap();
//! topology.stage("reads").handle(|_, _| ());
//! ```
//! ```
//! let text = String::from("a");
//! let (mut tx, mut rx) = ringway::spsc::<&str>(4);
//! tx.publish(text.as_str()).unwrap();
//! assert!(rx.read().unwrap().iter().eq(&["a"]));
//! ```
//!
//! # Events that live shorter
//!
//! An end of `&'static str` is none of `&'a str`: what would be put in there another end would take out as if it lived for ever.
//! ```compile_fail
//! use ringway::*;
//! fn same<'a>(end: Producer<&'static str>) -> Producer<&'a str> { end }
//! ```
//! ```compile_fail
//! use ringway::*;
//! fn same<'a>(end: Producer<&'static str, Multi>) -> Producer<&'a str, Multi> { end }
//! ```
//! ```compile_fail
//! use ringway::*;
//! fn same<'a, 'c>(end: Claim<'c, &'static str>) -> Claim<'c, &'a str> { end }
//! ```
//! ```compile_fail
//! use ringway::*;
//! fn same<'a>(end: Consumer<&'static str, Exclusive>) -> Consumer<&'a str, Exclusive> { end }
//! ```
//! ```compile_fail
//! use ringway::*;
//! fn same<'a>(end: Worker<&'static str, Exclusive>) -> Worker<&'a str, Exclusive> { end }
//! ```
//! ```compile_fail
//! use ringway::*;
//! fn same<'a, 'c>(end: Batch<'c, &'static str, Exclusive>) -> Batch<'c, &'a str, Exclusive> { end }
//! ```
//! ```compile_fail
//! use ringway::*;
//! fn same<'a>(end: LaneProducer<&'static str>) -> LaneProducer<&'a str> { end }
//! ```
//! ```compile_fail
//! use ringway::*;
//! fn same<'a>(end: LaneConsumer<&'static str>) -> LaneConsumer<&'a str> { end }
//! ```
//! ```
//! use ringway::*;
//! fn same_0<'a>(end: Producer<&'a str>) -> Producer<&'a str> { end }
//! fn same_1<'a>(end: Producer<&'a str, Multi>) -> Producer<&'a str, Multi> { end }
//! fn same_2<'a, 'c>(end: Claim<'c, &'a str>) -> Claim<'c, &'a str> { end }
//! fn same_3<'a>(end: Consumer<&'a str, Exclusive>) -> Consumer<&'a str, Exclusive> { end }
//! fn same_4<'a>(end: Worker<&'a str, Exclusive>) -> Worker<&'a str, Exclusive> { end }
//! fn same_5<'a, 'c>(end: Batch<'c, &'a str, Exclusive>) -> Batch<'c, &'a str, Exclusive> { end }
//! fn same_6<'a>(end: LaneProducer<&'a str>) -> LaneProducer<&'a str> { end }
//! fn same_7<'a>(end: LaneConsumer<&'a str>) -> LaneConsumer<&'a str> { end }
//! ```
//!
//! # Who may edit
//!
//! ```compile_fail,E0599
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || 0_u64).unwrap();
//! let (_, mut rx) = topology.stage("reads").consumer();
//! let _ = rx.try_read().map(|mut batch| batch.iter_mut().count());
//! ```
//! ```compile_fail,E0599
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || 0_u64).unwrap();
//! let (_, mut rx) = topology.stage("reads").consumer();
//! let _ = rx.try_read().map(|mut batch| batch.drain().count());
//! ```
//! ```
//! use ringway::{BusConfig, Topology};
//! let mut topology = Topology::single(BusConfig::default(), || 0_u64).unwrap();
//! let (_, mut rx) = topology.stage("edits").consumer_mut();
//! let _ = rx.try_read().map(|mut batch| batch.iter_mut().count());
//! let _ = rx.try_read().map(|mut batch| batch.drain().count());
//! ```
//! ```compile_fail,E0499
//! let (mut tx, mut rx) = ringway::spsc::<u64>(4);
//! tx.publish(1).unwrap();
//! let mut batch = rx.read().unwrap();
//! let (one, other) = (batch.iter_mut(), batch.iter_mut());
//! assert_eq!(one.count(), other.count());
//! ```
//! ```
//! let (mut tx, mut rx) = ringway::spsc::<u64>(4);
//! tx.publish(1).unwrap();
//! let batch = rx.read().unwrap();
//! let (one, other) = (batch.iter(), batch.iter());
//! assert_eq!(one.count(), other.count());
//! ```
