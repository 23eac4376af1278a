/// The three files in /etc that every pod has of its own.
enum PodFiles {
    static let clusterDomain = "cluster.local"

    /// /etc/hosts: the pod's own name at its own address, so that looking it up needs no DNS.
    static func hosts(
        _ pod: PodManifest, addresses: [String], neighbours: [(address: String, names: [String])] = []
    ) -> String {
        var text = "# Written by Skein for pod \(pod.fullName).\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"
        let names: String =
            pod.subdomain.isEmpty
            ? pod.hostname
            : "\(pod.hostname).\(pod.subdomain).\(pod.namespace).svc.\(clusterDomain)\t\(pod.hostname)"
        for address in addresses { text += "\(address)\t\(names)\n" }
        for alias in pod.hostAliases {
            let line = "\(alias.ip)\t\(alias.names.joined(separator: "\t"))"
            // A line break in a name would be a line of its own.
            if !line.contains(where: \.isNewline) { text += line + "\n" }
        }
        for neighbour in neighbours { text += "\(neighbour.address)\t\(neighbour.names.joined(separator: "\t"))\n" }
        return text
    }

    /// /etc/resolv.conf as Kubernetes writes it for `dnsPolicy: ClusterFirst`, but with a shorter wait.
    ///
    /// A question that a dying control plane took with it is asked again after one second instead of five.
    static func resolverConfiguration(_ pod: PodManifest, nameserver: String) -> String {
        """
        search \(pod.namespace).svc.\(clusterDomain) svc.\(clusterDomain) \(clusterDomain)
        nameserver \(nameserver)
        options ndots:5 timeout:1 attempts:5

        """
    }
}
