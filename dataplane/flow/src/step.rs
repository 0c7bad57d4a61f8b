//! Marks between the steps of a change, where a test can park the thread. Nothing at all outside unit tests.

#[cfg(not(test))]
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must vanish")]
pub(crate) const fn step() {}

#[cfg(test)]
pub(crate) use hook::step;

#[cfg(test)]
pub(crate) mod hook {
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut()>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// What this thread does at every step from now on.
    pub(crate) fn on_step(hook: impl FnMut() + 'static) {
        HOOK.with_borrow_mut(|h| *h = Some(Box::new(hook)));
    }

    pub(crate) fn step() {
        HOOK.with_borrow_mut(|hook| {
            if let Some(hook) = hook {
                hook();
            }
        });
    }
}
