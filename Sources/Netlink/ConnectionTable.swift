package import IO

/// What the kernel remembers of connections, in one network namespace (<linux/netfilter/nfnetlink_conntrack.h>).
///
/// A busy machine remembers hundreds of thousands: who knows which ones are meant says so, and the kernel (from version 5.8 on)
/// passes over all others by itself instead of describing each of them.
package struct ConnectionTable: Sendable {
    /// A connection as it is remembered.
    package struct Connection: Hashable, Sendable {
        /// Its protocol: IPPROTO_TCP 6, IPPROTO_UDP 17, IPPROTO_SCTP 132.
        package var transport: UInt8
        /// Who began it: the source of its first packet.
        package var client: IPAddress
        /// To which port the client sends; 0 for protocols without ports.
        package var port: UInt16
        /// Who really answers, after translation: the source of its replies.
        package var answerer: IPAddress
        /// From which port the replies come; 0 for protocols without ports.
        package var answererPort: UInt16
        /// What the kernel knows it by: CTA_TUPLE_ORIG, and the family of its addresses.
        fileprivate var original: [UInt8]
        fileprivate var family: UInt8
    }

    /// Which connections are meant; what is nil may be anything.
    package struct Search: Hashable, Sendable {
        /// By which of its ends a connection is known.
        package enum End: Hashable, Sendable {
            /// Who began it, and the port to which it sends.
            case client
            /// Who really answers, and the port from which it does.
            case answerer
        }

        /// By which end.
        package var end: End
        /// The address of that end.
        package var address: IPAddress?
        /// As a connection has it.
        package var transport: UInt8?
        /// The port of that end; the kernel looks at it where the transport is said, too.
        package var port: UInt16?

        /// Connections with that end.
        package init(_ end: End, _ address: IPAddress?, transport: UInt8? = nil, port: UInt16? = nil) {
            self.end = end
            self.address = address
            self.transport = transport
            self.port = port
        }

        func holds(_ connection: Connection) -> Bool {
            let (who, number) =
                end == .client
                ? (connection.client, connection.port) : (connection.answerer, connection.answererPort)
            return (address == nil || address == who) && (transport == nil || transport == connection.transport)
                && (port == nil || port == number)
        }
    }

    /// For each question the kernel goes through its whole table (16 ms with the 262,144 chains that machines of more than 4 GiB
    /// have, and four times that when they are full), and to have so many connections described costs as much as that.
    static let worthOfQuestion = 32_000

    private static let delete: UInt16 = 1 << 8 | 2  // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE

    private let channel: NetlinkChannel

    /// Opens it in the namespace of the calling thread; one thread at a time.
    package init() throws(SystemError) { channel = try NetlinkChannel(NetlinkChannel.netfilter) }

    /// Forgets connections that meet a condition; how many that were.
    ///
    /// Their next packet begins a new one.
    ///
    /// - Parameter searches: among which ones; nil is among all.
    @discardableResult
    package func forget(
        among searches: Set<Search>? = nil, where matches: (Connection) -> Bool
    ) throws(SystemError) -> Int {
        let questions = Dictionary(grouping: searches ?? [], by: Question.init)
        var count = 0
        if searches != nil, try isLess(questions.count) {
            for (question, searches) in questions {
                // A kernel may describe more than it was asked for: one before 5.8 sees no question at all.
                for connection in try list(question) where searches.contains(where: { $0.holds(connection) }) {
                    if matches(connection) { count += try forget(connection) ? 1 : 0 }
                }
            }
        } else {
            for connection in try list(Question()) where matches(connection) {
                count += try forget(connection) ? 1 : 0
            }
        }
        return count
    }

    /// Whether so many questions cost less than having everything described.
    private func isLess(_ questions: Int) throws(SystemError) -> Bool {
        guard questions > 1 else { return true }
        return try questions - 1 <= held() / ConnectionTable.worthOfQuestion
    }

    /// How many connections are remembered in this namespace.
    func held() throws(SystemError) -> Int {
        var message = NetlinkMessage(type: 1 << 8 | 5, flags: NetlinkChannel.change)  // IPCTNL_MSG_CT_GET_STATS
        message.append(UInt32(0))
        let attributes = try channel.exchange(message, "count connections").first?.attributes(after: 4) ?? [:]
        // CTA_STATS_GLOBAL_ENTRIES
        return Int(UInt32(bigEndian: attributes[1]?.number(0, as: UInt32.self) ?? 0))
    }

    /// The connections that are meant; nil is all of them.
    package func list(_ search: Search? = nil) throws(SystemError) -> [Connection] {
        try list(search.map(Question.init) ?? Question()).filter { search?.holds($0) ?? true }
    }

    private func list(_ question: Question) throws(SystemError) -> [Connection] {
        let replies: [NetlinkReply]
        do throws(SystemError) {
            replies = try channel.exchange(question.message, "list connections")
        } catch {
            // This kernel does not take this kind of question: EINVAL, EOPNOTSUPP.
            guard question != Question(), error.errno == 22 || error.errno == 95 else { throw error }
            return try list(Question())
        }
        return replies.compactMap(ConnectionTable.connection)
    }

    /// Returns whether it was there: a connection may have ended by itself meanwhile.
    private func forget(_ connection: Connection) throws(SystemError) -> Bool {
        var message = NetlinkMessage(type: ConnectionTable.delete, flags: NetlinkChannel.change)
        message.append(UInt32(connection.family))
        message.attribute(1 | 0x8000, connection.original)
        do throws(SystemError) {
            try channel.request(message, "forget a connection")
            return true
        } catch {
            guard error.errno == 2 else { throw error }  // ENOENT
            return false
        }
    }

    // MARK: Messages

    private static func connection(_ reply: NetlinkReply) -> Connection? {
        let attributes = reply.attributes(after: 4)
        guard let original = attributes[1], let first = end(original), let answer = attributes[2].flatMap(end) else {
            return nil
        }
        return Connection(
            transport: first.transport, client: first.address, port: first.target, answerer: answer.address,
            answererPort: answer.port, original: Array(original), family: reply.payload.number(0, as: UInt8.self))
    }

    private static func end(
        _ tuple: ArraySlice<UInt8>
    ) -> (address: IPAddress, transport: UInt8, port: UInt16, target: UInt16)? {
        let parts = NetlinkReply.attributes(tuple)
        // CTA_TUPLE_IP 1: CTA_IP_V4_SRC 1, CTA_IP_V6_SRC 3
        let ip = NetlinkReply.attributes(parts[1] ?? [])
        // CTA_TUPLE_PROTO 2: CTA_PROTO_NUM 1, CTA_PROTO_SRC_PORT 2, CTA_PROTO_DST_PORT 3
        let proto = NetlinkReply.attributes(parts[2] ?? [])
        guard let address = (ip[1] ?? ip[3]).flatMap({ IPAddress(bytes: $0) }), let transport = proto[1]?.first else {
            return nil
        }
        func port(_ type: Int) -> UInt16 { UInt16(bigEndian: proto[type]?.number(0, as: UInt16.self) ?? 0) }
        return (address, transport, port(2), port(3))
    }
}

extension ConnectionTable {
    /// What the kernel is asked for, with what it can look at by itself.
    ///
    /// Not an IPv6 address: kernels from 5.8 on (6.18 is one) describe then just the connections that do *not* have it. All of that
    /// family are asked for instead.
    struct Question: Hashable {
        /// AF_INET 2, AF_INET6 10, 0 for both.
        private(set) var family: UInt8 = 0
        private var end: Search.End?
        private var address: IPAddress?
        private var transport: UInt8?
        private var port: UInt16?

        /// The bit of an attribute that holds others (NLA_F_NESTED).
        private static let nested = 0x8000

        /// Everything.
        init() {}

        init(_ search: Search) {
            family = search.address.map { $0.isV6 ? 10 : 2 } ?? 0
            address = search.address.flatMap { $0.isV6 ? nil : $0 }
            transport = search.transport
            port = transport == nil ? nil : search.port
            end = address == nil && port == nil ? nil : search.end
        }

        /// The request.
        var message: NetlinkMessage {
            var message = NetlinkMessage(type: 1 << 8 | 1, flags: NetlinkChannel.dump)  // IPCTNL_MSG_CT_GET
            message.append(UInt32(family))  // nfgenmsg: family, version 0, resource 0
            guard let end else { return message }
            var fields: UInt32 = 0
            message.nested((end == .client ? 1 : 2) | Question.nested) { tuple in  // CTA_TUPLE_ORIG, CTA_TUPLE_REPLY
                if let address {
                    fields |= 1 << 0  // CTA_FILTER_F_CTA_IP_SRC
                    // CTA_TUPLE_IP: CTA_IP_V4_SRC
                    tuple.nested(1 | Question.nested) { $0.attribute(1, address.bytes) }
                }
                guard let transport else { return }
                fields |= 1 << 3  // CTA_FILTER_F_CTA_PROTO_NUM
                tuple.nested(2 | Question.nested) { proto in  // CTA_TUPLE_PROTO
                    proto.attribute(1, transport)  // CTA_PROTO_NUM
                    guard let port else { return }
                    // CTA_PROTO_DST_PORT 3 and its bit of the filter, CTA_PROTO_SRC_PORT 2 and its
                    fields |= end == .client ? 1 << 5 : 1 << 4
                    proto.attribute(end == .client ? 3 : 2, bigEndian: port)
                }
            }
            // CTA_FILTER: CTA_FILTER_ORIG_FLAGS 1, CTA_FILTER_REPLY_FLAGS 2
            message.nested(25 | Question.nested) { $0.attribute(end == .client ? 1 : 2, fields) }
            return message
        }
    }
}
