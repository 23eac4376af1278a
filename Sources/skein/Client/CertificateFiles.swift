internal import IO
internal import Identity
internal import TLS

/// Certificate, key and roots of a workload as files that change together.
///
/// As with Kubernetes' volumes the files stand in a directory of their own, `..data` links to it, every name links through `..data`, and a change is
/// one rename: readers never see a certificate with another one's key.
struct CertificateFiles {
    static let key = "key.pem"
    static let chain = "cert-chain.pem"
    static let roots = "root-cert.pem"

    let directory: String

    /// What is there now; nil when there is none that fits together.
    var present: (chain: [Certificate], key: PrivateKey, roots: [UInt8])? {
        guard let keyBytes = try? File.read("\(directory)/\(Self.key)"),
            let chainBytes = try? File.read("\(directory)/\(Self.chain)"),
            let roots = try? File.read("\(directory)/\(Self.roots)"),
            let key = try? PrivateKey(pem: keyBytes), let chain = try? Certificate.all(pem: chainBytes),
            chain.first?.matches(key) == true
        else { return nil }
        return (chain, key, roots)
    }

    /// Writes them; the key is its owner's alone to read (mode 0600).
    func write(key: [UInt8], chain: [UInt8], roots: [UInt8]) throws(SystemError) {
        try File.makeDirectory(directory, mode: 0o755)
        let before = try? File.readLink("\(directory)/..data")
        let version = "..\(WallClock.now.seconds).\(UInt32.random(in: 0 ... .max))"
        let target = "\(directory)/\(version)"
        try File.makeDirectory(target, mode: 0o755)
        let files = [(Self.key, key, UInt32(0o600)), (Self.chain, chain, 0o644), (Self.roots, roots, 0o644)]
        for (name, bytes, mode) in files { try File.write("\(target)/\(name)", bytes, mode: mode) }
        try link(version, "..data")
        for (name, _, _) in files where (try? File.readLink("\(directory)/\(name)")) != "..data/\(name)" {
            try link("..data/\(name)", name)
        }
        // Nothing of the user's goes: only the directory that `..data` led to.
        if let before, before.hasPrefix(".."), !before.contains("/"), before != version {
            try File.removeTree("\(directory)/\(before)")
        }
    }

    /// A link in place of whatever has the name.
    private func link(_ target: String, _ name: String) throws(SystemError) {
        let temporary = "\(directory)/..\(name).new"
        try File.remove(temporary)
        try File.symlink(target, at: temporary)
        try File.rename(temporary, "\(directory)/\(name)")
    }
}
