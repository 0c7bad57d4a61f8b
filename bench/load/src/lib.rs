//! TCP and HTTP load through the kernel's stack.
