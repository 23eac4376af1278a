public import IO

/// The names of a cluster: what Kubernetes' DNS specification prescribes, and nothing outside of it.
///
/// Immutable: a change of the cluster makes a new zone. Built from plain data; answers are a dictionary look-up.
public struct Zone: Sendable {
    /// How long clients may keep an answer, in seconds.
    ///
    /// Short, because pods come and go.
    public static let ttl: UInt32 = 5

    /// The label before the cluster's domain under which the proxies ask for the real addresses of a name that `hosts`
    /// answers otherwise: `example.com.origin.cluster.local`.
    public static let originLabel = "origin"

    private let domain: Name
    private let origin: Name
    private let serial: UInt32
    private var records: [Name: [Record]] = [:]
    /// Names that have no records but names below them: they exist (RFC 8020).
    private var inner: Set<Name> = []
    private let reversePrefixes: [Prefix]

    /// A zone.
    ///
    /// - Parameters:
    ///   - domain: The cluster's domain.
    ///   - services: All services.
    ///   - reversePrefixes: The ranges of services and pods: their reverse names are answered here, never elsewhere.
    ///   - hosts: Further names with their addresses, also outside of the domain.
    ///   - serial: Grows with every change.
    public init(
        domain: String = "cluster.local", services: [ServiceNames], reversePrefixes: [Prefix] = [],
        hosts: [String: [IPAddress]] = [:], serial: UInt32 = 1
    ) {
        self.domain = Name(domain) ?? .root
        origin = Name(Self.originLabel, under: self.domain) ?? self.domain
        self.reversePrefixes = reversePrefixes
        self.serial = serial
        add("dns-version", under: self.domain, .txt([Array("1.1.0".utf8)]))
        inner.insert(self.domain)
        for service in services { add(service) }
        for (host, addresses) in hosts {
            for address in addresses { add(Name(host), .address(address)) }
        }
        for name in records.keys where name.isWithin(self.domain) {
            var above = name.parent
            while let name = above, name.isWithin(self.domain), inner.insert(name).inserted { above = name.parent }
        }
    }

    private mutating func add(_ name: Name?, _ value: Record.Value) {
        guard let name else { return }  // A name that DNS cannot carry.
        let record = Record(name: name, ttl: Self.ttl, value: value)
        if records[name]?.contains(record) != true { records[name, default: []].append(record) }
    }

    private mutating func add(_ front: String, under parent: Name, _ value: Record.Value) {
        add(Name(front, under: parent), value)
    }

    private mutating func add(_ service: ServiceNames) {
        guard let name = Name("\(service.name).\(service.namespace).svc", under: domain) else { return }
        if let external = service.externalName {
            if let target = Name(external) { add(name, .cname(target)) }
            return
        }
        if service.isHeadless {
            addHeadless(service, name)
        } else {
            for address in service.clusterIPs {
                add(name, .address(address))
                add(Self.reverse(address), .ptr(name))
            }
            for port in service.ports where !port.name.isEmpty {
                add(
                    "_\(port.name)._\(port.transport)", under: name,
                    .srv(priority: 0, weight: 100, port: port.number, target: name))
            }
            // Pods of a StatefulSet are found by name also under a service with an address.
            for endpoint in service.endpoints {
                if let hostname = endpoint.hostname { add(hostname, under: name, .address(endpoint.address)) }
            }
        }
    }

    private mutating func addHeadless(_ service: ServiceNames, _ name: Name) {
        for endpoint in service.endpoints {
            add(name, .address(endpoint.address))
            guard let host = Name(endpoint.hostname ?? Self.dashed(endpoint.address), under: name) else { continue }
            add(host, .address(endpoint.address))
            add(Self.reverse(endpoint.address), .ptr(host))
            for port in service.ports where !port.name.isEmpty {
                let number = endpoint.ports[port.name] ?? port.number
                add(
                    "_\(port.name)._\(port.transport)", under: name,
                    .srv(priority: 0, weight: 100, port: number, target: host))
            }
        }
        // A headless service without endpoints exists all the same.
        if service.endpoints.isEmpty { inner.insert(name) }
    }

    /// The label that stands for an address: `10-244-0-5`.
    static func dashed(_ address: IPAddress) -> String {
        String(address.description.map { $0 == "." || $0 == ":" ? "-" : $0 })
    }

    /// The name under which the reverse of an address is asked for.
    public static func reverse(_ address: IPAddress) -> Name? {
        let labels: [String]
        if address.isV6 {
            labels = address.bytes.reversed().flatMap { [String($0 & 0xF, radix: 16), String($0 >> 4, radix: 16)] }
        } else {
            labels = address.bytes.reversed().map { "\($0)" }
        }
        return Name(labels.joined(separator: ".") + (address.isV6 ? ".ip6.arpa" : ".in-addr.arpa"))
    }

    /// The address of which a name is the reverse.
    static func address(ofReverse name: Name) -> IPAddress? {
        let labels = name.labels.map { String(decoding: $0.map(Name.lower), as: UTF8.self) }
        if labels.count == 6, labels.suffix(2) == ["in-addr", "arpa"] {
            return IPAddress(labels.prefix(4).reversed().joined(separator: "."))
        }
        guard labels.count == 34, labels.suffix(2) == ["ip6", "arpa"] else { return nil }
        var bytes: [UInt8] = []
        let digits = labels.prefix(32).reversed().map { $0.utf8.count == 1 ? UInt8($0, radix: 16) : nil }
        for index in stride(from: 0, to: 32, by: 2) {
            guard let high = digits[index], let low = digits[index + 1] else { return nil }
            bytes.append(high << 4 | low)
        }
        return IPAddress(bytes: bytes)
    }
}

extension Zone {
    /// What the zone says to a question.
    public struct Answer: Hashable, Sendable {
        /// Success, or that there is no such name.
        public var code = ResponseCode.success
        /// The records that answer.
        public var answers: [Record] = []
        /// The start of authority, in negative answers.
        public var authorities: [Record] = []
        /// Addresses of the targets of SRV records.
        public var additionals: [Record] = []
        /// A name outside of the zone to which the answer leads: its records must be asked for elsewhere.
        public var pending: Name?
    }

    /// Whether a question is answered here, and by no other server.
    public func isAuthority(for name: Name) -> Bool {
        if name.isWithin(domain) || records[name] != nil { return true }
        guard let address = Self.address(ofReverse: name) else { return false }
        return reversePrefixes.contains { $0.contains(address) }
    }

    /// The answer to a question, or nil when another server must be asked.
    ///
    /// - Parameter rotation: Which of several addresses comes first; different from query to query, so that clients
    ///   which take the first one spread.
    public func answer(_ question: Question, rotation: Int = 0) -> Answer? {
        guard isAuthority(for: question.name) else { return nil }
        var answer = Answer()
        if let real = question.name.before(origin) {
            answer.answers = [Record(name: question.name, ttl: Self.ttl, value: .cname(real))]
            answer.pending = real
            return answer
        }
        var name = question.name
        for _ in 0..<8 {  // Aliases of aliases; more than a few are a loop.
            guard let all = records[name] else {
                if answer.answers.isEmpty && !inner.contains(name) { answer.code = .nameError }
                break
            }
            let matching = all.filter { $0.type == question.type || question.type == .any }
            if !matching.isEmpty {
                answer.answers += Self.rotated(matching, rotation)
                break
            }
            guard case .cname(let target)? = all.first?.value else { break }
            answer.answers.append(all[0])
            guard isAuthority(for: target) else {
                answer.pending = target
                return answer
            }
            name = target
        }
        // The asked name in the letters in which it was asked.
        for index in answer.answers.indices where answer.answers[index].name == question.name {
            answer.answers[index].name = question.name
        }
        for case .srv(_, _, _, let target) in answer.answers.map(\.value) {
            let addresses = records[target]?.filter { $0.type == .a || $0.type == .aaaa } ?? []
            answer.additionals += addresses.filter { !answer.additionals.contains($0) }
        }
        if !answer.answers.contains(where: { $0.type == question.type || question.type == .any }) {
            answer.authorities = [startOfAuthority]
        }
        return answer
    }

    private var startOfAuthority: Record {
        let value = Record.Value.soa(
            server: Name("ns.dns", under: domain) ?? domain, mailbox: Name("hostmaster", under: domain) ?? domain,
            serial: serial, refresh: 7200, retry: 1800, expire: 86_400, minimum: Self.ttl)
        return Record(name: domain, ttl: Self.ttl, value: value)
    }

    private static func rotated(_ records: [Record], _ rotation: Int) -> [Record] {
        guard records.count > 1 else { return records }
        let first = Int(rotation.magnitude % UInt(records.count))
        return Array(records[first...] + records[..<first])
    }
}
