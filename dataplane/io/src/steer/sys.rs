//! The three bpf(2) commands that aya does not offer: open any pin, ask a link for its device, detach a link for good.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_DETACH: libc::c_int = 34;
const BPF_LINK_TYPE_XDP: u32 = 6;

/// What the kernel says of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LinkInfo {
    pub(super) id: u32,
    pub(super) program: u32,
    /// The device, in its own namespace; 0 when it is gone.
    pub(super) ifindex: u32,
}

/// Opens what is pinned at `path`.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = ObjGet { path: path.as_ptr().expose_provenance() as u64, fd: 0, flags: 0 };
    let fd = bpf(BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Asks about an XDP link; `None` when `fd` is a link of another kind.
pub(super) fn link_info(fd: BorrowedFd<'_>) -> io::Result<Option<LinkInfo>> {
    let mut info = [0_u32; 32];
    let address = info.as_mut_ptr().expose_provenance() as u64;
    let mut attr = InfoByFd { fd: raw(fd), len: 4 * 32, info: address };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    let [kind, id, program, _, ifindex, ..] = info;
    Ok((kind == BPF_LINK_TYPE_XDP).then_some(LinkInfo { id, program, ifindex }))
}

/// Takes the program off the device, whoever else holds the link.
pub(super) fn link_detach(fd: BorrowedFd<'_>) -> io::Result<()> {
    bpf(BPF_LINK_DETACH, &mut LinkDetach { fd: raw(fd) }).map(drop)
}

/// Arguments of a command, as `union bpf_attr` has them; what is behind them counts as 0.
trait Attr {}

#[repr(C)]
struct ObjGet {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
struct InfoByFd {
    fd: u32,
    len: u32,
    info: u64,
}

#[repr(C)]
struct LinkDetach {
    fd: u32,
}

impl Attr for ObjGet {}
impl Attr for InfoByFd {}
impl Attr for LinkDetach {}

// JUSTIFICATION: aya keeps its own bpf(2) wrapper to itself and shows neither a link's device nor BPF_LINK_DETACH.
fn bpf<A: Attr>(command: libc::c_int, attr: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: `attr` is one of the three structs above, which the kernel reads (and for INFO_BY_FD writes) within the size
    // given; the addresses in it belong to buffers that their callers keep alive and that are as long as they say.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}
