//! What a thread that writes is told. Orders are merged, never queued, so there is no last place and none is lost; and while one
//! waits, the thread does not wait for its other end for long.

use crossbeam::channel::{Receiver, Sender, bounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the other end is waited for once an order waits, however long it was before.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks for orders while the other end is waited for, in milliseconds.
const LOOK_MS: u8 = 50;

#[derive(Debug, Default)]
struct Shared<T> {
    orders: Mutex<T>,
    waits: AtomicBool,
}

impl<T> Shared<T> {
    fn orders(&self) -> MutexGuard<'_, T> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that gives orders; dropping it is one, too.
#[derive(Debug)]
pub(super) struct Giver<T> {
    shared: Arc<Shared<T>>,
    wake: Sender<()>,
}

/// The end that obeys.
#[derive(Debug)]
pub(super) struct Obeyer<T> {
    shared: Arc<Shared<T>>,
    /// Gets a word when there are orders; disconnected when nobody gives any.
    pub(super) woken: Receiver<()>,
}

/// Both ends.
pub(super) fn orders<T: Default>() -> (Giver<T>, Obeyer<T>) {
    let shared = Arc::new(Shared { orders: Mutex::default(), waits: AtomicBool::new(false) });
    // One word is enough, whatever there is to do.
    let (wake, woken) = bounded(1);
    (Giver { shared: Arc::clone(&shared), wake }, Obeyer { shared, woken })
}

impl<T> Giver<T> {
    /// Adds to what is to be done; never waits.
    pub(super) fn give(&self, order: impl FnOnce(&mut T)) {
        order(&mut self.shared.orders());
        self.shared.waits.store(true, Ordering::Release);
        let _ = self.wake.try_send(());
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.shared.waits.store(true, Ordering::Release);
    }
}

impl<T: Default> Obeyer<T> {
    /// All that is to be done.
    pub(super) fn take(&self) -> T {
        self.shared.waits.store(false, Ordering::Release);
        std::mem::take(&mut self.shared.orders())
    }
}

impl<T: Send + 'static> Obeyer<T> {
    /// How long its owner may wait for others.
    pub(super) fn patience(&self) -> Patience {
        let shared = Arc::clone(&self.shared);
        Patience { order_waits: Box::new(move || shared.waits.load(Ordering::Acquire)), over: false }
    }
}

/// As long as it takes; with an order waiting, [`PATIENCE`], and after that not at all until the other end moves again.
pub(super) struct Patience {
    order_waits: Box<dyn Fn() -> bool + Send>,
    over: bool,
}

impl Patience {
    /// Waits until something can be written.
    ///
    /// # Errors
    /// `WouldBlock` when the patience is over.
    pub(super) fn wait(&mut self, other_end: BorrowedFd<'_>) -> io::Result<()> {
        let mut hurried = None;
        loop {
            let hurry = (self.order_waits)();
            let pause = if self.over && hurry { PollTimeout::ZERO } else { PollTimeout::from(LOOK_MS) };
            let mut ends = [PollFd::new(other_end, PollFlags::POLLOUT)];
            match poll(&mut ends, pause) {
                // Also when it is broken: writing tells how.
                Ok(1..) => {
                    self.over = false;
                    return Ok(());
                }
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if hurry && (self.over || hurried.get_or_insert_with(Instant::now).elapsed() >= PATIENCE) {
                self.over = true;
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    #[test]
    fn orders_are_merged_and_none_is_lost() {
        let (giver, obeyer) = orders::<Vec<u32>>();
        (0..100).for_each(|n| giver.give(|all| all.push(n)));
        assert!(obeyer.woken.try_recv().is_ok() && obeyer.woken.try_recv().is_err());
        assert_eq!(obeyer.take(), (0..100).collect::<Vec<_>>());
        assert!(obeyer.take().is_empty());
        drop(giver);
        assert!(obeyer.woken.recv().is_err());
    }

    #[test]
    fn an_order_ends_the_wait_for_an_end_that_hangs() {
        let (mut stream, _deaf) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 4_096]).is_ok() {}
        let (giver, obeyer) = orders::<u32>();
        let mut patience = obeyer.patience();
        let waiting = thread::spawn(move || {
            let first = patience.wait(stream.as_fd());
            let second = patience.wait(stream.as_fd());
            [first, second].map(|waited| waited.map_err(|error| error.kind()))
        });
        thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished(), "nothing hurries");
        giver.give(|order| *order = 1);
        assert_eq!(waiting.join().unwrap(), [Err(io::ErrorKind::WouldBlock); 2]);
    }

    /// The order comes when the other end has been waited for longer than the patience lasts; at the next look there is room.
    #[test]
    fn an_end_that_was_slow_before_an_order_came_is_waited_for_after_it() {
        let (mut stream, slow) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 4_096]).is_ok() {}
        slow.set_nonblocking(true).unwrap();
        let (begin, looks) = (Instant::now(), AtomicU32::new(0));
        let order_waits = Box::new(move || {
            let waits = begin.elapsed() > PATIENCE + Duration::from_millis(100);
            if waits && looks.fetch_add(1, Ordering::Relaxed) == 1 {
                let mut bytes = [0; 4_096];
                while (&slow).read(&mut bytes).is_ok() {}
            }
            waits
        });
        let mut patience = Patience { order_waits, over: false };
        patience.wait(stream.as_fd()).unwrap();
        assert!(!patience.over);
    }
}
