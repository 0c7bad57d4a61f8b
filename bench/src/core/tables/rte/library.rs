//! The few functions of `librte_eal` and `librte_hash` 22.11 that are used, declared as its headers do.
// JUSTIFICATION: DPDK is a C library. Opening it at run time keeps it out of the build.
#![allow(unsafe_code, reason = "fenced here: calls into a C library")]

use crate::core::tables::keys::{BULK, Key, key};
use libloading::Library;
use std::ffi::{CString, c_char, c_int, c_void};
use std::hint::black_box;
use std::ptr;

/// The ABI of DPDK 22.11.
const EAL: &str = "librte_eal.so.23";
const HASH: &str = "librte_hash.so.23";
/// Bytes a key takes in its table: entry, slot and free list, with room to spare.
const BYTES_A_KEY: usize = 128;
/// `RTE_HASH_EXTRA_FLAGS_MULTI_WRITER_ADD | RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF`: what a table needs to be used by
/// several workers at once, as ours is.
const SHARED: u8 = 0x02 | 0x20;

/// `struct rte_hash_parameters`.
#[repr(C)]
struct Parameters {
    name: *const c_char,
    entries: u32,
    reserved: u32,
    key_len: u32,
    hash_func: Option<unsafe extern "C" fn(*const c_void, u32, u32) -> u32>,
    hash_func_init_val: u32,
    socket_id: c_int,
    extra_flag: u8,
}

type EalInit = unsafe extern "C" fn(c_int, *mut *mut c_char) -> c_int;
type Create = unsafe extern "C" fn(*const Parameters) -> *mut c_void;
type AddKeyData = unsafe extern "C" fn(*const c_void, *const c_void, *mut c_void) -> c_int;
type LookupData = unsafe extern "C" fn(*const c_void, *const c_void, *mut *mut c_void) -> c_int;
type LookupBulkData =
    unsafe extern "C" fn(*const c_void, *const *const c_void, u32, *mut u64, *mut *mut c_void) -> c_int;
type DelKey = unsafe extern "C" fn(*const c_void, *const c_void) -> i32;
type FreeKey = unsafe extern "C" fn(*const c_void, i32) -> c_int;

/// A table of packed keys with a number each.
pub(super) struct Hash {
    table: *mut c_void,
    add: AddKeyData,
    lookup: LookupData,
    lookup_bulk: LookupBulkData,
    del: DelKey,
    free: FreeKey,
    /// Kept open: the functions are in them. The first is the environment.
    _libraries: [Library; 2],
}

/// Keys as the library reads them.
pub(super) fn keys(numbers: &[u32]) -> Vec<Key> {
    numbers.iter().map(|&n| key(n)).collect()
}

/// Whether both libraries are there.
///
/// # Errors
/// That they are not, in words for people.
pub(super) fn installed() -> Result<(), String> {
    open(HASH).map(drop)
}

fn open(name: &str) -> Result<Library, String> {
    // SAFETY: the initialisers of DPDK's libraries register constructors of their own and touch nothing of ours.
    unsafe { Library::new(name) }.map_err(|_| format!("not installed ({name} of DPDK 22.11)"))
}

/// A function of a library.
fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, String> {
    // SAFETY: each `T` above is the function's declaration in the headers of 22.11, whose ABI the library's name fixes.
    let found = unsafe { library.get::<T>(name) };
    found.map(|symbol| *symbol).map_err(|why| format!("{name} is missing: {why}"))
}

impl Hash {
    /// Starts the environment on a core and makes a table with room for `entries` keys.
    pub(super) fn create(entries: usize, core: usize) -> Result<Self, String> {
        let (eal, hash) = (open(EAL)?, open(HASH)?);
        start(symbol(&eal, "rte_eal_init")?, entries, core)?;
        let create: Create = symbol(&hash, "rte_hash_create")?;
        let name = c"flows";
        let parameters = Parameters {
            name: name.as_ptr(),
            entries: u32::try_from(entries).map_err(|_| "too many keys")?,
            reserved: 0,
            key_len: u32::try_from(size_of::<Key>()).map_err(|_| "a key too long")?,
            hash_func: None,
            hash_func_init_val: 0,
            socket_id: 0,
            extra_flag: SHARED,
        };
        // SAFETY: the environment runs, and the parameters and their name live until the call returns.
        let table = unsafe { create(&raw const parameters) };
        if table.is_null() {
            return Err(format!("rte_hash_create refused a table of {entries} keys"));
        }
        Ok(Self {
            table,
            add: symbol(&hash, "rte_hash_add_key_data")?,
            lookup: symbol(&hash, "rte_hash_lookup_data")?,
            lookup_bulk: symbol(&hash, "rte_hash_lookup_bulk_data")?,
            del: symbol(&hash, "rte_hash_del_key")?,
            free: symbol(&hash, "rte_hash_free_key_with_position")?,
            _libraries: [eal, hash],
        })
    }

    /// The sum of the numbers of the keys that were found, 64 keys at a time.
    pub(super) fn lookup_bulk(&self, keys: &[Key]) -> u64 {
        let mut sum = 0;
        for part in keys.chunks(BULK) {
            let mut wanted = [ptr::null::<c_void>(); BULK];
            for (place, key) in wanted.iter_mut().zip(part) {
                *place = ptr::from_ref(key).cast();
            }
            let (mut hits, mut found) = (0u64, [ptr::null_mut::<c_void>(); BULK]);
            let count = u32::try_from(part.len()).unwrap_or(0);
            // SAFETY: the table lives; `wanted` and `found` have room for the at most 64 keys of a part, each key is 16
            // readable bytes.
            unsafe {
                (self.lookup_bulk)(self.table, wanted.as_ptr(), count, &raw mut hits, found.as_mut_ptr())
            };
            let found = black_box(&found);
            sum +=
                (0..part.len()).filter(|n| hits >> n & 1 == 1).map(|n| found[n].addr() as u64).sum::<u64>();
        }
        sum
    }

    /// The sum of the numbers of the keys that were found, one by one.
    pub(super) fn lookup(&self, keys: &[Key]) -> u64 {
        let find = |key: &Key| {
            let mut data = ptr::null_mut();
            // SAFETY: the table lives, the key is 16 readable bytes, and the result has a place.
            let place = unsafe { (self.lookup)(self.table, ptr::from_ref(key).cast(), &raw mut data) };
            if black_box(place) >= 0 { data.addr() as u64 } else { 0 }
        };
        keys.iter().map(find).sum()
    }

    /// The sum of the numbers that were inserted.
    pub(super) fn insert(&self, keys: &[Key], numbers: &[u32]) -> u64 {
        let put = |(key, &n): (&Key, &u32)| {
            let data = ptr::without_provenance_mut::<c_void>(n as usize);
            // SAFETY: the table lives and the key is 16 readable bytes; the data is a number that nobody follows.
            let refused = unsafe { (self.add)(self.table, ptr::from_ref(key).cast(), data) };
            if refused == 0 { u64::from(n) } else { 0 }
        };
        keys.iter().zip(numbers).map(put).sum()
    }

    /// The sum of the numbers that were removed.
    pub(super) fn delete(&self, keys: &[Key], numbers: &[u32]) -> u64 {
        let take = |(key, &n): (&Key, &u32)| {
            // SAFETY: the table lives and the key is 16 readable bytes.
            let place = unsafe { (self.del)(self.table, ptr::from_ref(key).cast()) };
            // SAFETY: the place was just given by the removal, once, and no other thread reads the table.
            let freed = place >= 0 && unsafe { (self.free)(self.table, place) } == 0;
            if freed { u64::from(n) } else { 0 }
        };
        keys.iter().zip(numbers).map(take).sum()
    }
}

/// Starts the environment: no devices, no files, ordinary memory, one core.
fn start(init: EalInit, entries: usize, core: usize) -> Result<(), String> {
    let megabytes = 64 + entries * BYTES_A_KEY / (1 << 20);
    let (memory, core) = (megabytes.to_string(), core.to_string());
    let words = ["ringlead", "--no-huge", "-m", &memory, "--no-pci", "--no-shconf", "--no-telemetry"];
    let words = words.into_iter().chain(["-l", &core, "--log-level=error"]);
    let args: Vec<CString> = words.filter_map(|word| CString::new(word).ok()).collect();
    let mut pointers: Vec<*mut c_char> = args.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
    let count = c_int::try_from(pointers.len()).map_err(|_| "too many arguments")?;
    pointers.push(ptr::null_mut());
    // The environment may keep pointers into its arguments.
    std::mem::forget(args);
    let pointers = Vec::leak(pointers);
    // SAFETY: `count` strings that live for good, followed by a null pointer, as a program's arguments are.
    let started = unsafe { init(count, pointers.as_mut_ptr()) };
    if started < 0 { Err("rte_eal_init failed".to_owned()) } else { Ok(()) }
}
