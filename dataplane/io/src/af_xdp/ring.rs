//! The four rings of one socket, with frames changing hands at each verb: nothing outside this file sees a descriptor.
//!
//! JUSTIFICATION for the unsafe code: xsk-rs leaves it to the caller that a descriptor is in one place only. Here every
//! descriptor that goes into a ring comes from a [`Frame`] or a free chunk consumed in the same call, and every one that
//! comes out becomes a `Frame` or a free chunk, so the kernel and the worker never own a chunk at the same time. A
//! socket works with the [`Frames`] that it was opened on and refuses all others.
#![allow(unsafe_code, reason = "descriptor rings shared with the kernel; see the module's justification")]

use crate::frames::{Frame, Frames};
use crate::owners::Owner;
use crate::port::{BURST, FrameList};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use xsk_rs::config::{Interface, SocketConfig};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem};

/// See the module. Dropping it closes the socket.
#[derive(Debug)]
pub(crate) struct Rings {
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    scratch: [FrameDesc; BURST],
    /// The only `Frames` whose chunks may enter.
    frames_id: u64,
    tx_size: u32,
}

/// What became of the frames given to [`Rings::send`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Taken from the list.
    pub(crate) taken: usize,
    /// Of these, freed because no descriptor can carry them: empty, or too long for their chunk.
    pub(crate) invalid: usize,
}

impl Rings {
    /// Opens and binds a socket on `frames`' Umem.
    ///
    /// # Errors
    /// The kernel's, unchanged: EBUSY while a former socket still holds the queue.
    pub(crate) fn open(config: SocketConfig, frames: &Frames, device: &str, queue: u32) -> io::Result<Self> {
        let umem = frames.umem().ok_or(io::ErrorKind::InvalidInput)?;
        let interface: Interface = device.parse().map_err(io::Error::other)?;
        // SAFETY: `config` always carries the flag that inhibits loading a program (open.rs), which is the condition.
        let opened = unsafe { Socket::new(config, umem, &interface, queue) };
        let (tx, rx, rings) = opened.map_err(|error| match os_error(&error) {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::other(error.to_string()),
        })?;
        let (fill, completion) = rings.ok_or_else(|| io::Error::from_raw_os_error(libc::EBUSY))?;
        let tx_size = config.tx_queue_size().get();
        let scratch = [FrameDesc::default(); BURST];
        Ok(Self { rx, tx, fill, completion, scratch, frames_id: frames.id(), tx_size })
    }

    /// Receive: at most what `list` has room for. The second figure counts descriptors that were no frame.
    #[inline]
    pub(crate) fn receive(&mut self, frames: &mut Frames, list: &mut FrameList) -> (usize, usize) {
        if !self.are_mine(frames) {
            return (0, 0);
        }
        let room = BURST - list.len();
        let Some(scratch) = self.scratch.get_mut(..room) else { return (0, 0) };
        // SAFETY: descriptors that come out are of the Umem that the socket was made with.
        let count = unsafe { self.rx.consume(scratch) };
        let before = list.len();
        for desc in scratch.iter().take(count) {
            if let Some(frame) = frames.adopt(desc.addr(), desc.lengths().data()) {
                list.push(frame);
            }
        }
        let good = list.len() - before;
        (good, count - good)
    }

    /// Transmit: frames from the front of `list`, as many as the ring has room for.
    ///
    /// `produce` is all or nothing, hence the room is asked first. The kernel drops an invalid descriptor without ever
    /// completing it, which would lose the chunk, hence such frames do not get there.
    #[inline]
    pub(crate) fn send(&mut self, frames: &mut Frames, list: &mut FrameList) -> Sent {
        let mut sent = Sent::default();
        let wanted = u32::try_from(list.len()).unwrap_or(0);
        if wanted == 0 || !self.are_mine(frames) {
            return sent;
        }
        let room = self.tx.nb_free(wanted).min(wanted) as usize;
        let mut ready = 0;
        for mut frame in list.drain(..room) {
            sent.taken += 1;
            match descriptor(frames, &mut frame).zip(self.scratch.get_mut(ready)) {
                Some((desc, place)) => {
                    frames.hand(&frame, Owner::Worker, Owner::Tx);
                    *place = desc;
                    ready += 1;
                }
                None => {
                    frames.free(frame);
                    sent.invalid += 1;
                }
            }
        }
        let descs = self.scratch.get(..ready).unwrap_or_default();
        // SAFETY: each descriptor is of this Umem and of a frame consumed above, which nobody else has.
        let produced = unsafe { self.tx.produce(descs) };
        debug_assert_eq!(produced, ready, "there was room for all");
        sent
    }

    /// Complete: frees what the kernel has sent, at most a burst; returns how many.
    #[inline]
    pub(crate) fn complete(&mut self, frames: &mut Frames) -> usize {
        if !self.are_mine(frames) {
            return 0;
        }
        // SAFETY: descriptors that come out are of the Umem that the socket was made with.
        let count = unsafe { self.completion.consume(&mut self.scratch) };
        for desc in self.scratch.iter().take(count) {
            let index = desc.addr() / frames.chunk_size();
            if index < frames.count() {
                frames.put_free(u32::try_from(index).unwrap_or(u32::MAX), Owner::Tx);
            }
        }
        count
    }

    /// Fill: gives the kernel free chunks to receive into, at most a burst; returns how many.
    #[inline]
    pub(crate) fn fill(&mut self, frames: &mut Frames) -> usize {
        if !self.are_mine(frames) {
            return 0;
        }
        #[allow(clippy::cast_possible_truncation, reason = "64")]
        let room = self.fill.nb_free(BURST as u32).min(BURST as u32) as usize;
        let mut ready = 0;
        for place in self.scratch.iter_mut().take(room.min(frames.free_count())) {
            let Some(index) = frames.take_free(Owner::Rx) else { break };
            let Some(desc) = frames.desc(index) else { break };
            *place = desc;
            ready += 1;
        }
        let descs = self.scratch.get(..ready).unwrap_or_default();
        // SAFETY: each descriptor is of this Umem and of a chunk that was taken off the free list above.
        let produced = unsafe { self.fill.produce(descs) };
        debug_assert_eq!(produced, ready, "there was room for all");
        produced
    }

    /// How many sent frames the kernel has not taken from the transmit ring yet.
    #[inline]
    pub(crate) fn unsent(&mut self) -> u32 {
        self.tx_size.saturating_sub(self.tx.nb_free_exact())
    }

    /// Whether the kernel wants a call to look at the transmit ring. In copy mode: always.
    #[inline]
    pub(crate) fn wants_tx_wakeup(&self) -> bool {
        self.tx.needs_wakeup()
    }

    /// Whether the driver stopped receiving for want of chunks and sleeps until a call.
    #[inline]
    pub(crate) fn wants_rx_wakeup(&self) -> bool {
        self.fill.needs_wakeup()
    }

    /// One sendto(2): the kernel sends up to its budget.
    ///
    /// # Errors
    /// The kernel's, less those that mean "later".
    pub(crate) fn wake_tx(&self) -> io::Result<()> {
        self.tx.wakeup()
    }

    /// One recvfrom(2): wakes the driver's receive side, or under busy polling runs it.
    pub(crate) fn wake_rx(&self) {
        // Whatever it answers (EAGAIN, ENETDOWN …), the next turn asks again.
        let _ = nix::sys::socket::recv(self.fd(), &mut [], nix::sys::socket::MsgFlags::MSG_DONTWAIT);
    }

    /// The kernel's counters of the socket. A system call.
    pub(crate) fn statistics(&self) -> io::Result<xsk_rs::socket::XdpStatistics> {
        self.rx.fd().xdp_statistics()
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.rx.fd().as_raw_fd()
    }

    /// The socket, for waiting on.
    pub(crate) fn borrowed_fd(&self) -> BorrowedFd<'_> {
        // JUSTIFICATION: xsk-rs gives the descriptor as a number only.
        // SAFETY: the receive ring keeps the socket open for as long as this borrow of it lasts.
        unsafe { BorrowedFd::borrow_raw(self.fd()) }
    }

    /// Sets an integer socket option.
    ///
    /// # Errors
    /// Those of setsockopt(2).
    pub(crate) fn set_option(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        #[allow(clippy::cast_possible_truncation, reason = "4")]
        let size = size_of::<i32>() as libc::socklen_t;
        // SAFETY: the pointer is to `size` bytes that live through the call, and the descriptor is open.
        let result = unsafe { libc::setsockopt(self.fd(), level, option, (&raw const value).cast(), size) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn are_mine(&self, frames: &Frames) -> bool {
        let mine = frames.id() == self.frames_id;
        debug_assert!(mine, "a port was given the packet memory of another worker");
        mine
    }
}

/// Describes a frame for the transmit ring, its packet moved to where the chunk's descriptor points: xsk-rs keeps a
/// descriptor's address to itself. `None` when no descriptor can.
#[inline]
fn descriptor(frames: &mut Frames, frame: &mut Frame) -> Option<FrameDesc> {
    if frame.is_empty() || !frames.settle(frame) {
        return None;
    }
    let mut desc = frames.desc(frame.index)?;
    set_len(frames.umem()?, &mut desc, frame.len());
    Some(desc)
}

#[inline]
fn set_len(umem: &Umem, desc: &mut FrameDesc, len: usize) {
    // SAFETY: the descriptor is of this Umem and its chunk belongs to a frame that the caller holds; the slice made here
    // is gone at the end of the statement and none of its bytes is touched.
    unsafe { umem.data_mut(desc) }.cursor().set_pos(len);
}

/// The errno inside xsk-rs's error.
pub(crate) fn os_error(error: &dyn std::error::Error) -> Option<i32> {
    error.source()?.downcast_ref::<io::Error>()?.raw_os_error()
}
