//! The least that runs futures: one on the calling thread, or many on a few threads. Neither polls without a wake-up,
//! so one that is lost shows.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

/// Runs a future on the calling thread, which sleeps between wake-ups.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = poll_once(future.as_mut(), &waker) {
            return output;
        }
        thread::park();
    }
}

/// Polls a future once.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Counts how often it was woken.
#[derive(Debug, Default)]
pub(crate) struct Bell(AtomicUsize);

impl Bell {
    pub(crate) fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A bell, and a waker that rings it.
pub(crate) fn bell() -> (Arc<Bell>, Waker) {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    (bell, waker)
}

type Body = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    /// `None` once it is ready.
    body: Mutex<Option<Body>>,
    ready: mpsc::Sender<Arc<Task>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        // the pool may be gone
        let _ = self.ready.clone().send(self);
    }
}

/// A few threads that poll whichever tasks were woken.
pub(crate) struct Pool {
    ready: mpsc::Sender<Arc<Task>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(crate) fn new(threads: usize) -> Self {
        let (ready, woken) = mpsc::channel::<Arc<Task>>();
        let woken = Arc::new(Mutex::new(woken));
        let run = |woken: Arc<Mutex<mpsc::Receiver<Arc<Task>>>>| {
            loop {
                let next = woken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(task) = next else { break };
                let waker = Waker::from(task.clone());
                let mut body = task.body.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(future) = body.as_mut() else {
                    continue;
                };
                if future
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_ready()
                {
                    *body = None;
                }
            }
        };
        let threads = (0..threads)
            .map(|_| {
                thread::spawn({
                    let woken = woken.clone();
                    move || run(woken)
                })
            })
            .collect();
        Self { ready, threads }
    }

    /// Starts a task; its output comes through the channel.
    pub(crate) fn spawn<R: Send + 'static>(
        &self,
        future: impl Future<Output = R> + Send + 'static,
    ) -> mpsc::Receiver<R> {
        let (done, output) = mpsc::channel();
        let body: Body = Box::pin(async move {
            // whoever started it may not wait for it
            let _ = done.send(future.await);
        });
        let task = Arc::new(Task {
            body: Mutex::new(Some(body)),
            ready: self.ready.clone(),
        });
        task.wake();
        output
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        self.threads.len()
    }
}
