//! Why a machine refuses the namespaces a cluster needs, and the way out.

use std::fs;

/// What the kernel says about the rules that commonly refuse namespaces.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    apparmor_restricts: bool,
    userns_limit_zero: bool,
    debian_switch_off: bool,
    seccomp: bool,
    in_container: bool,
}

impl Machine {
    pub(crate) fn read() -> Machine {
        let value = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
        let status = value("/proc/self/status").unwrap_or_default();
        Machine {
            apparmor_restricts: value("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
                .is_some_and(|v| v == "1"),
            userns_limit_zero: value("/proc/sys/user/max_user_namespaces").is_some_and(|v| v == "0"),
            debian_switch_off: value("/proc/sys/kernel/unprivileged_userns_clone").is_some_and(|v| v == "0"),
            seccomp: status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"])),
            in_container: ["/.dockerenv", "/run/.containerenv"].iter().any(|path| fs::exists(path).unwrap_or(false)),
        }
    }

    /// One text that names the likely cause of `failed` and what to do.
    pub(crate) fn explain(&self, failed: &str) -> String {
        let way_out = if self.userns_limit_zero {
            "User namespaces are switched off (user.max_user_namespaces = 0). \
             Allow them with: sudo sysctl -w user.max_user_namespaces=15000"
        } else if self.debian_switch_off {
            "Unprivileged user namespaces are switched off (kernel.unprivileged_userns_clone = 0). \
             Allow them with: sudo sysctl -w kernel.unprivileged_userns_clone=1"
        } else if self.apparmor_restricts {
            "AppArmor restricts unprivileged user namespaces \
             (kernel.apparmor_restrict_unprivileged_userns = 1). Allow them with: \
             sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        } else if self.seccomp && self.in_container {
            "This container's seccomp profile refuses namespaces. Start the container with: \
             --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
             --security-opt systempaths=unconfined"
        } else if self.seccomp {
            "A seccomp filter on this process refuses namespaces. \
             Run lateen outside of the program that set it"
        } else {
            "A security module or the kernel's configuration refuses it; \
             `unshare -Urmpnf true` should work for this user"
        };
        format!("this machine does not let lateen {failed}.\n{way_out}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_named_with_the_way_out() {
        let base = Machine::default;
        for (machine, expect) in [
            (Machine { userns_limit_zero: true, ..base() }, "user.max_user_namespaces=15000"),
            (Machine { apparmor_restricts: true, ..base() }, "AppArmor restricts"),
            (Machine { debian_switch_off: true, ..base() }, "unprivileged_userns_clone=1"),
            (Machine { seccomp: true, in_container: true, ..base() }, "--security-opt seccomp=unconfined"),
            (Machine { seccomp: true, ..base() }, "seccomp filter"),
            (Machine::default(), "unshare -Urmpnf true"),
        ] {
            let text = machine.explain("make a user namespace (EPERM)");
            assert!(text.contains(expect) && text.contains("EPERM"), "{text}");
        }
    }
}
