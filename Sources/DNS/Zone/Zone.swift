public import IO

/// Names that are answered here, and by no other server.
///
/// A name server has several: the cluster's, and one more for each further source of names. What a zone says depends on
/// nothing but the zone: a change makes a new one (`DNSServer.publish`). Asked on the server's loop.
public protocol NameZone: Sendable {
    /// The answer to a question about a name of this zone, or nil when another zone or server must be asked.
    ///
    /// - Parameter rotation: which of several addresses comes first; another one from query to query.
    func answer(_ question: Question, rotation: Int) -> Zone.Answer?
}

/// The names of a cluster: what Kubernetes' DNS specification prescribes, and nothing outside of it.
///
/// Immutable: a change of the cluster makes a new zone. Built from plain data; answers are a dictionary look-up.
public struct Zone: NameZone, Sendable {
    /// How long clients may keep an answer, in seconds.
    ///
    /// Short, because pods come and go.
    public static let ttl: UInt32 = 5

    /// The label before the cluster's domain under which the proxies ask for the real addresses of a name that `hosts`
    /// answers otherwise: `example.com.origin.cluster.local`.
    public static let originLabel = "origin"

    private let domain: Name
    private let origin: Name
    private let services: Name
    private let pods: Name
    private let nameServer: Name
    private let serial: UInt32
    /// The start of authority as it stands in an answer, without the name that it belongs to.
    private var denialRecord: [UInt8] = []
    private var records: [Name: [Record]] = [:]
    /// Names that have no records but names below them: they exist (RFC 8020).
    private var inner: Set<Name> = []
    /// Addresses of every name below these, by the name without its `*` (RFC 4592).
    private var wildcards: [Name: [Record.Value]] = [:]
    private let reversePrefixes: [Prefix]

    /// A zone.
    ///
    /// - Parameters:
    ///   - domain: The cluster's domain.
    ///   - services: All services.
    ///   - reversePrefixes: The ranges of services and pods: their reverse names are answered here, never elsewhere.
    ///   - hosts: Further names with their addresses, also outside of the domain; `*.example.org` is every name below.
    ///   - servers: Where this zone is answered: the addresses of its name server.
    ///   - serial: Grows with every change.
    public init(
        domain: String = "cluster.local", services: [ServiceNames], reversePrefixes: [Prefix] = [],
        hosts: [String: [IPAddress]] = [:], servers: [IPAddress] = [], serial: UInt32 = 1
    ) {
        self.init(
            domain: domain, services: services, reversePrefixes: reversePrefixes, hosts: hosts, servers: servers,
            serial: serial, further: [])
    }

    /// The zone of registered programs: their names, under a domain of their own.
    public init(registered: RegisteredNames, servers: [IPAddress] = [], serial: UInt32 = 1) {
        self.init(
            domain: registered.domain, services: [], reversePrefixes: [], hosts: [:], servers: servers, serial: serial,
            further: registered.records())
    }

    private init(
        domain: String, services: [ServiceNames], reversePrefixes: [Prefix], hosts: [String: [IPAddress]],
        servers: [IPAddress], serial: UInt32, further: [(name: Name, value: Record.Value)]
    ) {
        self.domain = Name(domain) ?? .root
        self.services = Name("svc", under: self.domain) ?? self.domain
        pods = Name("pod", under: self.domain) ?? self.domain
        nameServer = Name("ns.dns", under: self.domain) ?? self.domain
        origin = Name(Self.originLabel, under: self.domain) ?? self.domain
        self.reversePrefixes = reversePrefixes
        self.serial = serial
        add("dns-version", under: self.domain, .txt([Array("1.1.0".utf8)]))
        inner.formUnion([self.domain, pods])
        denialRecord = Self.startOfAuthority(of: self.domain, server: nameServer, serial: serial).bytesWithoutName
        for address in servers { add(nameServer, .address(address)) }
        for service in services { add(service) }
        for (host, addresses) in hosts {
            guard host.hasPrefix("*."), let parent = Name(host.dropFirst(2)) else {
                for address in addresses { add(Name(host), .address(address)) }
                continue
            }
            wildcards[parent, default: []] += addresses.map { .address($0) }
        }
        for (name, value) in further { add(name, value) }
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

    private static let reverseV4 = Name("in-addr.arpa") ?? .root
    private static let reverseV6 = Name("ip6.arpa") ?? .root

    /// The addresses of which a name is the reverse: one of a whole reverse name, a range of a shorter one.
    static func range(ofReverse name: Name) -> Prefix? {
        if let digits = name.before(reverseV4)?.labels, digits.count <= 4 {
            let parts = digits.map { String(decoding: $0, as: UTF8.self) }.reversed()
            let text = (Array(parts) + Array(repeating: "0", count: 4 - digits.count)).joined(separator: ".")
            return IPAddress(text).flatMap { Prefix($0, length: 8 * digits.count) }
        }
        guard let digits = name.before(reverseV6)?.labels, digits.count <= 32 else { return nil }
        var nibbles = [UInt8](repeating: 0, count: 32)
        for (index, label) in digits.reversed().enumerated() {
            guard label.count == 1, let nibble = UInt8(String(decoding: label, as: UTF8.self), radix: 16) else {
                return nil
            }
            nibbles[index] = nibble
        }
        let bytes = (0..<16).map { nibbles[2 * $0] << 4 | nibbles[2 * $0 + 1] }
        return IPAddress(bytes: bytes).flatMap { Prefix($0, length: 4 * digits.count) }
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
    public func isAuthority(for name: Name) -> Bool { apex(of: name) != nil }

    /// The topmost name of the zone that a name belongs to; nil when it is none of ours.
    private func apex(of name: Name) -> Name? {
        if name.isWithin(domain) { return domain }
        if records[name] != nil || wildcard(name) != nil { return name }
        guard let range = Self.range(ofReverse: name),
            let prefix = reversePrefixes.first(where: { $0.length <= range.length && $0.contains(range.address) })
        else { return nil }
        // Of a range that ends within a label each of the labels that it covers has a zone of its own (RFC 2317 aside).
        return name.suffix(2 + (prefix.address.isV6 ? (prefix.length + 3) / 4 : (prefix.length + 7) / 8))
    }

    /// The answer to a question, or nil when another server must be asked.
    ///
    /// - Parameter rotation: Which of several addresses comes first; different from query to query, so that clients
    ///   which take the first one spread.
    public func answer(_ question: Question, rotation: Int = 0) -> Answer? {
        guard let apex = apex(of: question.name) else { return nil }
        var answer = Answer()
        if let real = question.name.before(origin) {
            answer.answers = [Record(name: question.name, ttl: Self.ttl, value: .cname(real))]
            answer.pending = real
            return answer
        }
        var name = question.name
        for _ in 0..<8 {  // Aliases of aliases; more than a few are a loop.
            let all = found(name)
            guard !all.isEmpty else {
                if answer.answers.isEmpty && !exists(name) { answer.code = .nameError }
                break
            }
            let matching = all.filter { $0.type == question.type || question.type == .any }
            if !matching.isEmpty {
                answer.answers += Self.rotated(matching, rotation)
                break
            }
            guard case .cname(let target)? = all.first?.value else { break }
            answer.answers.append(all[0])
            guard self.apex(of: target) != nil else {
                answer.pending = target
                return answer
            }
            name = target
        }
        // The asked name in the letters in which it was asked.
        for index in answer.answers.indices where answer.answers[index].name == question.name {
            answer.answers[index].name = question.name
        }
        for record in answer.answers {
            let target: Name
            switch record.value {
            case .srv(_, _, _, let name), .ns(let name): target = name
            default: continue
            }
            let addresses = records[target]?.filter { $0.type == .a || $0.type == .aaaa } ?? []
            answer.additionals += addresses.filter { !answer.additionals.contains($0) }
        }
        if !answer.answers.contains(where: { $0.type == question.type || question.type == .any }) {
            answer.authorities = [Self.startOfAuthority(of: apex, server: nameServer, serial: serial)]
        }
        return answer
    }

    /// What follows the question where a name of the domain is denied: the start of authority, behind a pointer to the name's end.
    ///
    /// The same as `answer` says, without a message being made: programs ask for thousands of names that are not there (ndots).
    /// Nil for a name that is there, or where it takes more to know.
    func denial(of name: Name) -> [UInt8]? {
        guard name.wire.count > domain.wire.count, name.isWithin(domain), wildcard(name) == nil, records[name] == nil,
            !inner.contains(name), !name.isWithin(origin), !name.isWithin(pods)
        else { return nil }
        return denialRecord
    }

    /// How many bytes of the end of a name are the domain.
    var domainLength: Int { domain.wire.count + 1 }

    /// Every record of a name: kept ones, and those that follow from the name.
    private func found(_ name: Name) -> [Record] {
        var all = records[name] ?? []
        if name == domain || isReverseApex(name) {
            all.append(Self.startOfAuthority(of: name, server: nameServer, serial: serial))
            all.append(Record(name: name, ttl: Self.ttl, value: .ns(nameServer)))
        }
        if all.isEmpty, let address = podAddress(name) {
            all = [Record(name: name, ttl: Self.ttl, value: .address(address))]
        }
        if all.isEmpty, !inner.contains(name), let values = wildcard(name) {
            all = values.map { Record(name: name, ttl: Self.ttl, value: $0) }
        }
        return all
    }

    /// Whether a name without records is there all the same, because of names below it.
    private func exists(_ name: Name) -> Bool {
        if inner.contains(name) || name.before(pods)?.labelCount == 1 { return true }
        guard let range = Self.range(ofReverse: name) else { return false }
        return range.length < range.address.bitCount
    }

    private func isReverseApex(_ name: Name) -> Bool {
        guard Self.range(ofReverse: name) != nil else { return false }
        return apex(of: name) == name && records[name] == nil
    }

    private func wildcard(_ name: Name) -> [Record.Value]? {
        guard !wildcards.isEmpty else { return nil }
        var above = name.parent
        while let parent = above {
            if let values = wildcards[parent] { return values }
            above = parent.parent
        }
        return nil
    }

    /// The address in `10-244-0-5.NAMESPACE.pod.DOMAIN`, where it is one of the cluster's.
    ///
    /// As with CoreDNS' `pods insecure`, nobody looks whether that pod is there, and in that namespace.
    private func podAddress(_ name: Name) -> IPAddress? {
        guard let front = name.before(pods), front.labelCount == 2, let label = front.labels.first else { return nil }
        let text = String(decoding: label, as: UTF8.self)
        guard !text.contains("."), !text.contains(":"),
            let address = IPAddress(text.replacing("-", with: ".")) ?? IPAddress(text.replacing("-", with: ":"))
        else { return nil }
        return reversePrefixes.contains { $0.contains(address) } ? address : nil
    }

    /// What is left of a name that the search path of a pod has made longer: `api.example.org` of
    /// `api.example.org.NAMESPACE.svc.DOMAIN`, where that namespace has services and `api.example.org` has a dot.
    func searched(_ name: Name) -> Name? {
        guard let front = name.before(services), front.labelCount >= 3, front.labels.first?.first != UInt8(ascii: "_"),
            inner.contains(name.suffix(services.labelCount + 1))
        else { return nil }
        return front.before(front.suffix(1))
    }

    /// The names that a resolver would try after the longer one, as far as this zone has them.
    func shortcut(_ name: Name) -> Name? {
        [services, domain].lazy.compactMap { parent in
            name.wire.count + parent.wire.count < Name.bytesMax ? Name(wire: name.wire + parent.wire) : nil
        }.first { records[$0] != nil }
    }

    /// The start of authority of a zone: `ttl` seconds bound how long a negative answer of it is kept (RFC 2308).
    public static func startOfAuthority(
        of apex: Name, server: Name, serial: UInt32, ttl: UInt32 = Zone.ttl
    ) -> Record {
        let value = Record.Value.soa(
            server: server, mailbox: Name("hostmaster", under: apex) ?? apex, serial: serial, refresh: 7200,
            retry: 1800, expire: 86_400, minimum: ttl)
        return Record(name: apex, ttl: ttl, value: value)
    }

    private static func rotated(_ records: [Record], _ rotation: Int) -> [Record] {
        guard records.count > 1 else { return records }
        let first = Int(rotation.magnitude % UInt(records.count))
        return Array(records[first...] + records[..<first])
    }
}
