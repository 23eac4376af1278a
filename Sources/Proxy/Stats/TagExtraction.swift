internal import Telemetry
internal import Upstream

/// What labels Envoy's tag rules take out of a dotted name, and what is left of it.
///
/// `cluster.backend.upstream_rq_200` becomes `cluster.upstream_rq` with `envoy.response_code=200` and
/// `envoy.cluster_name=backend`. Envoy does it with regular expressions; here the elements are looked at, so that a dot
/// inside a cluster's name does not cut it.
struct TagExtraction: Sendable {
    /// One label.
    typealias Tag = (name: String, value: String)

    /// A rule of `stats_config.stats_tags`.
    enum Rule: Sendable {
        /// The first group leaves the name; the second (or the first, if there is one only) is the value.
        case regex(name: String, RegularExpression)
        /// Stands at every metric.
        case fixed(name: String, value: String)
    }

    var rules: [Rule] = []
    var usesDefaults = true

    /// The name without what became labels, and the labels in Envoy's order.
    func extract(_ name: MetricName) -> (name: String, tags: [Tag]) {
        var tags: [Tag] = []
        // Byte positions of the unmasked name that leave it.
        var removed: [Range<Int>] = []
        let text = Array(name.dotted.utf8)
        for rule in rules {
            switch rule {
            case .fixed(let name, let value): tags.append((name, value))
            case .regex(let name, let expression):
                guard let found = expression.find(in: text, groups: 2), let whole = found.groups.first ?? nil else {
                    continue
                }
                let value = found.groups.count > 1 ? (found.groups[1] ?? whole) : whole
                tags.append((name, String(decoding: text[value], as: UTF8.self)))
                removed.append(whole)
            }
        }
        if usesDefaults {
            var elements = Elements(name.masked)
            elements.extract()
            let known = Set(tags.map(\.name))
            for tag in elements.tags.sorted(by: { $0.order < $1.order }) where !known.contains(tag.name) {
                tags.append((tag.name, MetricName.unmasked(tag.value)))
                removed.append(tag.removed)
            }
        }
        guard !removed.isEmpty else { return (name.dotted, tags) }
        var left: [UInt8] = []
        for (index, byte) in text.enumerated() where !removed.contains(where: { $0.contains(index) }) {
            left.append(byte)
        }
        return (String(decoding: left, as: UTF8.self), tags)
    }

    /// A name cut at its dots.
    private struct Elements {
        let words: [Substring]
        /// Where each word begins, in bytes.
        let starts: [Int]
        var tags: [(order: Int, name: String, value: String, removed: Range<Int>)] = []

        init(_ name: String) {
            words = name.split(separator: ".", omittingEmptySubsequences: false)
            var starts: [Int] = []
            var position = 0
            for word in words {
                starts.append(position)
                position += word.utf8.count + 1
            }
            self.starts = starts
        }

        private func word(_ index: Int) -> Substring { index < words.count ? words[index] : "" }

        /// A whole word leaves the name, with the dot behind it.
        private mutating func take(_ index: Int, _ name: String, order: Int) {
            guard index < words.count - 1 else { return }
            let end = starts[index] + words[index].utf8.count + 1
            tags.append((order, "envoy.\(name)", String(words[index]), starts[index]..<end))
        }

        /// The last word leaves the name, with the dot before it.
        private mutating func takeLast(_ index: Int, _ name: String, order: Int) {
            guard index == words.count - 1, index > 0 else { return }
            let start = starts[index]
            tags.append(
                (order, "envoy.\(name)", String(words[index]), (start - 1)..<(start + words[index].utf8.count)))
        }

        mutating func extract() {
            takeCode()
            switch word(0) {
            case "cluster":
                take(1, "cluster_name", order: 8)
                switch word(2) {
                case "grpc" where words.count > 5:
                    take(3, "grpc_bridge_service", order: 4)
                    take(4, "grpc_bridge_method", order: 3)
                case "grpc" where words.count == 5: take(3, "grpc_bridge_service", order: 4)
                case "ssl": takeSSL(3)
                default: break
                }
            case "http": extractHTTP(1)
            case "listener":
                // As Envoy's expression: the admin listener's name is no address.
                guard isAddress(word(1)) || words.count > 3 && word(1).utf8.contains(1) else { break }
                take(1, "listener_address", order: 10)
                switch word(2) {
                case "http": take(3, "http_conn_manager_prefix", order: 9)
                case "ssl": takeSSL(3)
                default: takeWorker(2)
                }
            case "vhost":
                switch word(2) {
                case "vcluster": take(3, "virtual_cluster", order: 2)
                case "route": take(3, "route", order: 12)
                default: break
                }
                take(1, "virtual_host", order: 11)
            case "tcp": take(1, "tcp_prefix", order: 8)
            case "udp": take(1, "udp_prefix", order: 8)
            case "redis": take(1, "redis_prefix", order: 8)
            case "mongo": take(1, "mongo_prefix", order: 8)
            case "ratelimit": take(1, "ratelimit_prefix", order: 8)
            case "dns_filter": take(1, "dns_filter_prefix", order: 8)
            case "connection_limit": take(1, "connection_limit_prefix", order: 8)
            case "local_rate_limit": take(1, "local_network_ratelimit_prefix", order: 8)
            case "listener_local_ratelimit": take(1, "local_listener_ratelimit_prefix", order: 8)
            case "auth" where word(1) == "clientssl": take(2, "clientssl_prefix", order: 8)
            case "server", "listener_manager", "thread_local_cluster_manager": takeWorker(1)
            default: if word(1) == "http_local_rate_limit" { take(0, "local_http_ratelimit_prefix", order: 8) }
            }
        }

        private mutating func extractHTTP(_ index: Int) {
            take(index, "http_conn_manager_prefix", order: 9)
            switch word(index + 1) {
            case "rds" where words.count > index + 3: take(index + 2, "rds_route_config", order: 5)
            case "scoped_rds" where words.count > index + 3: take(index + 2, "scoped_rds_config", order: 5)
            case "fault" where words.count > index + 3: take(index + 2, "fault_downstream_cluster", order: 5)
            case "ext_authz" where words.count > index + 3: take(index + 2, "ext_authz_prefix", order: 5)
            case "rbac":
                if word(index + 2) == "policy" {
                    take(index + 3, "rbac_policy_name", order: 5)
                } else if words.count > index + 3 {
                    take(index + 2, "rbac_http_prefix", order: 5)
                    if word(index + 3) == "policy" { take(index + 4, "rbac_policy_name", order: 6) }
                }
            default: break
            }
        }

        private mutating func takeSSL(_ index: Int) {
            switch word(index) {
            case "cipher": takeLast(index + 1, "ssl_cipher", order: 3)
            case "ciphers": takeLast(index + 1, "ssl_cipher_suite", order: 3)
            case "versions": takeLast(index + 1, "ssl_version", order: 3)
            case "curves": takeLast(index + 1, "ssl_curve", order: 3)
            case "sigalgs": takeLast(index + 1, "ssl_sigalg", order: 3)
            case "certificate": take(index + 1, "tls_certificate", order: 3)
            default: break
            }
        }

        /// `worker_3` leaves `worker`.
        private mutating func takeWorker(_ index: Int) {
            guard index < words.count - 1, words[index].hasPrefix("worker_") else { return }
            let number = words[index].dropFirst(7)
            guard !number.isEmpty, number.utf8.allSatisfy({ $0 &- 48 < 10 }) else { return }
            let start = starts[index] + 6
            tags.append((7, "envoy.worker_id", String(number), start..<(starts[index] + words[index].utf8.count)))
        }

        /// `…_rq_200` leaves `…_rq`, `…_rq_2xx` leaves `…_rq_xx`.
        private mutating func takeCode() {
            guard let last = words.last, let start = starts.last else { return }
            let bytes = Array(last.utf8)
            guard bytes.count >= 6, bytes.dropLast(3).suffix(4) == Array("_rq_".utf8)[...],
                bytes[bytes.count - 3] &- 48 < 10
            else { return }
            let end = start + bytes.count
            let tail = String(decoding: bytes.suffix(3), as: UTF8.self)
            if bytes.suffix(3).allSatisfy({ $0 &- 48 < 10 }) {
                tags.append((0, "envoy.response_code", tail, (end - 4)..<end))
            } else if tail.hasSuffix("xx") {
                tags.append((1, "envoy.response_code_class", String(tail.prefix(1)), (end - 3)..<(end - 2)))
            }
        }

        private func isAddress(_ word: Substring) -> Bool {
            guard !word.isEmpty else { return false }
            let isV4 = word.utf8.allSatisfy { $0 &- 48 < 10 || $0 == 0x5F || $0 == 1 }
            let isV6 = word.utf8.allSatisfy {
                $0 &- 48 < 10 || $0 == 0x5F || $0 == 0x5B || $0 == 0x5D || ($0 | 0x20) &- 97 < 6
            }
            return isV4 || isV6
        }
    }
}
