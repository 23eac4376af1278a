internal import IO

/// The host's own programs as a container's root file system (`--images host`).
///
/// The root is a small directory of our own with the host's program directories bound into it read-only, without what is
/// mounted below them; so only what stands here is there at all, and places for mounts can be made without touching the
/// host. /tmp, /run, /proc, /dev and /sys are the container's own.
struct HostImage: Sendable {
    /// Directories of programs and their data by the file system hierarchy standard; nothing else of / is shown.
    static let directories = ["bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "srv", "usr", "var"]
    /// There, but empty.
    static let emptyDirectories = [
        "boot", "dev", "home", "media", "mnt", "proc", "root", "run", "sys", "tmp",
    ]

    /// What of these directories is nobody's business: passwords, keys, other engines' state, backups of either.
    static let secrets = [
        "/etc/apt/auth.conf", "/etc/apt/auth.conf.d", "/etc/credstore", "/etc/credstore.encrypted", "/etc/gshadow",
        "/etc/gshadow-", "/etc/shadow", "/etc/shadow-", "/etc/security/opasswd", "/etc/ssh",
        "/etc/ssl/private", "/etc/sudoers", "/etc/sudoers.d", "/etc/kubernetes", "/etc/rancher", "/etc/cni",
        "/etc/docker", "/etc/containerd", "/etc/ipsec.secrets", "/etc/krb5.keytab", "/etc/letsencrypt",
        "/etc/wireguard", "/etc/ppp", "/etc/NetworkManager",
        "/etc/openvpn", "/var/backups", "/var/lib/cloud", "/var/lib/cni", "/var/lib/containerd", "/var/lib/containers",
        "/var/lib/docker",
        "/var/lib/etcd", "/var/lib/kubelet", "/var/lib/private", "/var/lib/rancher", "/var/lib/skein", "/var/lib/sss",
        "/var/lib/systemd", "/var/lib/postgresql", "/var/lib/mysql", "/var/log", "/var/mail", "/var/spool",
        "/var/tmp", "/var/cache/debconf",
    ]

    /// An entry of the host's / that the container gets.
    enum Entry: Sendable, Hashable {
        case link(name: String, target: String)
        case directory(name: String)
    }

    let entries: [Entry]

    /// Looks at the host's root directory.
    static func inspect() -> HostImage {
        HostImage(
            entries: directories.compactMap { name in
                if let target = try? File.readLink("/" + name) { return .link(name: name, target: target) }
                return File.isDirectory("/" + name) ? .directory(name: name) : nil
            })
    }

    /// The mounts, given where the container wants further ones.
    ///
    /// `skeleton` is a directory outside all of these, in which the missing mount points of `destinations` are
    /// (`<skeleton>/<name>/…`): laid over the host's, read-only.
    func mounts(destinations: [String], skeleton: String, exists: (String) -> Bool) -> (
        mounts: [ContainerSpec.Mount], missing: [String]
    ) {
        var mounts: [ContainerSpec.Mount] = []
        var allMissing: [String] = []
        for case .directory(let name) in entries {
            let missing = destinations.filter { $0.hasPrefix("/\(name)/") && !exists($0) }
            allMissing += missing
            if missing.isEmpty {
                mounts.append(.bind("/" + name, to: "/" + name, readOnly: true))
            } else {
                mounts.append(
                    ContainerSpec.Mount(
                        "/" + name, type: "overlay", source: "overlay",
                        options: ["ro", "nosuid", "nodev", "lowerdir=\(skeleton)/\(name):/\(name)"]))
            }
        }
        return (mounts, allMissing)
    }
}
