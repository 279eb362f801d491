//! The system calls the engine makes, and nothing else: every `unsafe` of the crate is here.

use crate::address::{Address, Bind};
use std::ffi::CString;
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

pub type Event = libc::epoll_event;
pub const READ: u32 = libc::EPOLLIN as u32;
pub const WRITE: u32 = libc::EPOLLOUT as u32;
pub const READ_END: u32 = libc::EPOLLRDHUP as u32;
pub const BROKEN: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;
/// Registered once for a connection's life: no epoll_ctl per request.
pub const CONNECTION: u32 = READ | WRITE | READ_END | libc::EPOLLET as u32;
pub const LISTENER: u32 = READ | libc::EPOLLEXCLUSIVE as u32;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

fn check_size(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn epoll_create() -> io::Result<OwnedFd> {
    owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

pub fn epoll_add(epoll: &OwnedFd, fd: RawFd, token: u64, interest: u32) -> io::Result<()> {
    let mut event = Event {
        events: interest,
        u64: token,
    };
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) })?;
    Ok(())
}

pub fn epoll_remove(epoll: &OwnedFd, fd: RawFd) {
    unsafe {
        libc::epoll_ctl(
            epoll.as_raw_fd(),
            libc::EPOLL_CTL_DEL,
            fd,
            std::ptr::null_mut(),
        )
    };
}

/// How many events there are; 0 after `timeout_ms` (-1: wait for ever) or a signal.
pub fn epoll_wait(epoll: &OwnedFd, events: &mut [Event], timeout_ms: i32) -> usize {
    let most = events.len() as libc::c_int;
    let found =
        unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), most, timeout_ms) };
    usize::try_from(found).unwrap_or(0)
}

pub fn event_fd() -> io::Result<OwnedFd> {
    owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

pub fn event_raise(fd: &OwnedFd) {
    let one = 1u64;
    unsafe { libc::write(fd.as_raw_fd(), (&raw const one).cast(), 8) };
}

pub fn event_clear(fd: &OwnedFd) {
    let mut count = 0u64;
    unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), 8) };
}

pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    owned(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })
}

/// A listener as the engine wants it: non-blocking, and TCP_NODELAY, which what it accepts inherits.
pub fn prepare_listener(fd: &OwnedFd) -> io::Result<()> {
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) })?;
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    no_delay(fd);
    Ok(())
}

fn no_delay(fd: &OwnedFd) {
    let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
}

pub fn accept(listener: &OwnedFd) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let fd = owned(unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            (&raw mut storage).cast(),
            &mut length,
            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
        )
    })?;
    Ok((fd, from_storage(&storage)))
}

pub fn local_address(fd: &OwnedFd) -> io::Result<SocketAddr> {
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut storage).cast(), &mut length) })?;
    Ok(from_storage(&storage))
}

fn from_storage(storage: &libc::sockaddr_storage) -> SocketAddr {
    if i32::from(storage.ss_family) == libc::AF_INET6 {
        let v6 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
        let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
        return SocketAddr::new(IpAddr::V6(address), u16::from_be(v6.sin6_port));
    }
    let v4 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
    let address = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
    SocketAddr::new(IpAddr::V4(address), u16::from_be(v4.sin_port))
}

fn to_storage(address: &SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let length = match address {
        SocketAddr::V4(v4) => {
            let out = unsafe { &mut *std::ptr::from_mut(&mut storage).cast::<libc::sockaddr_in>() };
            out.sin_family = libc::AF_INET as libc::sa_family_t;
            out.sin_port = v4.port().to_be();
            out.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            let out =
                unsafe { &mut *std::ptr::from_mut(&mut storage).cast::<libc::sockaddr_in6>() };
            out.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            out.sin6_port = v6.port().to_be();
            out.sin6_addr.s6_addr = v6.ip().octets();
            out.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length as libc::socklen_t)
}

/// A non-blocking connection under way. A refusal shows at the first send or as an event.
pub fn connect(address: &Address, bind: Option<&Bind>) -> io::Result<OwnedFd> {
    let family = match address {
        Address::Ip(SocketAddr::V4(_)) => libc::AF_INET,
        Address::Ip(SocketAddr::V6(_)) => libc::AF_INET6,
        Address::Unix(_) => libc::AF_UNIX,
    };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let fd = owned(unsafe { libc::socket(family, kind, 0) })?;
    let (storage, length) = match address {
        Address::Ip(address) => {
            no_delay(&fd);
            to_storage(address)
        }
        Address::Unix(path) => unix_storage(path)?,
    };
    if let (Some(bind), Address::Ip(_)) = (bind, address) {
        bind_to(&fd, bind)?;
    }
    let result = unsafe { libc::connect(fd.as_raw_fd(), (&raw const storage).cast(), length) };
    match check(result) {
        Ok(_) => Ok(fd),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(fd),
        Err(error) => Err(error),
    }
}

fn unix_storage(path: &str) -> io::Result<(libc::sockaddr_storage, libc::socklen_t)> {
    let mut storage: libc::sockaddr_storage = unsafe { zeroed() };
    let out = unsafe { &mut *std::ptr::from_mut(&mut storage).cast::<libc::sockaddr_un>() };
    out.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if path.len() >= out.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in out.sun_path.iter_mut().zip(path.bytes()) {
        *to = from as libc::c_char;
    }
    let length = size_of::<libc::sa_family_t>() + path.len() + 1;
    Ok((storage, length as libc::socklen_t))
}

fn bind_to(fd: &OwnedFd, bind: &Bind) -> io::Result<()> {
    if bind.transparent {
        set_option(fd, libc::SOL_IP, libc::IP_TRANSPARENT, 1)?;
    }
    if bind.address.port() == 0 {
        // The port is chosen when the peer is known: more connections than ports.
        let _ = set_option(fd, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1);
    } else {
        set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    let (storage, length) = to_storage(&bind.address);
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const storage).cast(), length) })?;
    Ok(())
}

fn set_option(
    fd: &OwnedFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    let value = (&raw const value).cast();
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value, size) })?;
    Ok(())
}

/// Read into the spare room of `buffer`, which grows by nothing.
pub fn recv_spare(fd: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let spare = buffer.spare_capacity_mut();
    let count = check_size(unsafe {
        libc::recv(fd.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len(), 0)
    })?;
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

pub fn recv(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    check_size(unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) })
}

/// Whether the other side closed, or sent what nobody asked for; leaves the bytes where they are.
pub fn has_input(fd: &OwnedFd) -> bool {
    let mut byte = 0u8;
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    let count = unsafe { libc::recv(fd.as_raw_fd(), (&raw mut byte).cast(), 1, flags) };
    count >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::WouldBlock
}

/// `more`: a body follows at once, do not push the head out alone.
pub fn send(fd: &OwnedFd, data: &[u8], more: bool) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | if more { libc::MSG_MORE } else { 0 };
    check_size(unsafe { libc::send(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), flags) })
}

/// Two pieces in one call.
pub fn send_two(fd: &OwnedFd, first: &[u8], second: &[u8]) -> io::Result<usize> {
    let mut pieces = [first, second].map(|piece| libc::iovec {
        iov_base: piece.as_ptr().cast_mut().cast(),
        iov_len: piece.len(),
    });
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = pieces.as_mut_ptr();
    message.msg_iovlen = 2;
    check_size(unsafe { libc::sendmsg(fd.as_raw_fd(), &message, libc::MSG_NOSIGNAL) })
}

pub fn send_file(
    to: &OwnedFd,
    from: &impl AsRawFd,
    offset: &mut u64,
    count: u64,
) -> io::Result<usize> {
    let mut position = *offset as libc::off_t;
    let count = count.min(1 << 20) as usize;
    let sent = check_size(unsafe {
        libc::sendfile(to.as_raw_fd(), from.as_raw_fd(), &mut position, count)
    })?;
    *offset = position as u64;
    Ok(sent)
}

/// A non-blocking pipe, (reading end, writing end), of `size` bytes if the system lets us.
pub fn pipe(size: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    let [reading, writing] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    unsafe { libc::fcntl(writing.as_raw_fd(), libc::F_SETPIPE_SZ, size) };
    Ok((reading, writing))
}

/// Move up to `count` bytes from one to the other, of which one is a pipe.
pub fn splice(from: &OwnedFd, to: &OwnedFd, count: usize, more: bool) -> io::Result<usize> {
    let more = if more { libc::SPLICE_F_MORE } else { 0 };
    let null = std::ptr::null_mut();
    check_size(unsafe {
        libc::splice(
            from.as_raw_fd(),
            null,
            to.as_raw_fd(),
            null,
            count,
            libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK | more,
        )
    })
}

/// Move up to `count` bytes from a pipe to a place in a file.
pub fn splice_to_file(
    from: &OwnedFd,
    to: &impl AsRawFd,
    at: u64,
    count: usize,
) -> io::Result<usize> {
    let mut position = at as libc::off64_t;
    let null = std::ptr::null_mut();
    check_size(unsafe {
        libc::splice(
            from.as_raw_fd(),
            null,
            to.as_raw_fd(),
            &mut position,
            count,
            0,
        )
    })
}

pub fn shutdown_write(fd: &OwnedFd) {
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) };
}

fn c_path(path: &[u8]) -> io::Result<CString> {
    CString::new(path).map_err(|_| io::Error::from_raw_os_error(libc::ENOENT))
}

pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path.as_os_str().as_encoded_bytes())?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    owned(unsafe { libc::open(path.as_ptr(), flags) })
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Open for reading what lies below `directory`; the kernel refuses every way out of it (`..`,
/// absolute links): openat2(2), RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS.
pub fn open_beneath(directory: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
    let path = c_path(if path.is_empty() { b"." } else { path })?;
    let how = OpenHow {
        flags: (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY) as u64,
        mode: 0,
        resolve: libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS,
    };
    let result = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            directory.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<OpenHow>(),
        )
    };
    owned(result as libc::c_int)
}

/// Milliseconds on the monotonic clock.
pub fn now_ms() -> u64 {
    let mut time: libc::timespec = unsafe { zeroed() };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// (year, month 0-11, day, hour, minute, second, minutes east of UTC) of a time of the wall clock.
pub fn local_time(seconds: u64) -> (i32, i32, i32, i32, i32, i32, i64) {
    let time = seconds as libc::time_t;
    let mut out: libc::tm = unsafe { zeroed() };
    unsafe { libc::localtime_r(&time, &mut out) };
    let year = out.tm_year + 1900;
    let east = out.tm_gmtoff / 60;
    (
        year,
        out.tm_mon,
        out.tm_mday,
        out.tm_hour,
        out.tm_min,
        out.tm_sec,
        east,
    )
}

pub fn random_u64() -> u64 {
    let mut value = 0u64;
    unsafe { libc::getrandom((&raw mut value).cast(), 8, 0) };
    value
}

/// How many descriptors this process may have open.
pub fn descriptor_limit() -> usize {
    let mut limit: libc::rlimit = unsafe { zeroed() };
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur as usize
}

pub fn wall_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Now, as the access log writes it.
pub fn log_time() -> String {
    let (year, month, day, hour, minute, second, east) = local_time(wall_ms() / 1000);
    let (sign, east) = (if east < 0 { '-' } else { '+' }, east.abs());
    let month = MONTHS[month as usize % 12];
    format!(
        "{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} {sign}{:02}{:02}",
        east / 60,
        east % 60
    )
}

pub fn iso_time() -> String {
    let (year, month, day, hour, minute, second, east) = local_time(wall_ms() / 1000);
    let (sign, east) = (if east < 0 { '-' } else { '+' }, east.abs());
    format!(
        "{year}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{sign}{:02}:{:02}",
        month + 1,
        east / 60,
        east % 60
    )
}

pub fn syslog_time() -> String {
    let (_, month, day, hour, minute, second, _) = local_time(wall_ms() / 1000);
    let month = crate::log::MONTHS[month as usize % 12];
    format!("{month} {day:2} {hour:02}:{minute:02}:{second:02}")
}

/// As error logs have it.
pub fn error_time() -> String {
    let (year, month, day, hour, minute, second, _) = local_time(wall_ms() / 1000);
    let month = month + 1;
    format!("{year}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}")
}

pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| String::new(), |name| name.trim().to_ascii_lowercase())
}
