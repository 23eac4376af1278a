import EnvoyAPI
import Serialization
import Testing

@Suite("Messages on the wire")
struct WireTests {
    @Test("each kind of field has the bytes that protobuf prescribes")
    func bytes() throws {
        var cluster = Cluster()
        cluster.name = "a"  // field 1, string
        cluster.clusterDiscoveryType = .type(.eds)  // field 2 of a oneof, enumeration
        cluster.connectTimeout = .milliseconds(250)  // field 4, message Duration
        cluster.perConnectionBufferLimitBytes = 300  // field 5, wrapper
        cluster.lbPolicy = .random  // field 6, enumeration
        let expected: [UInt8] =
            [0x0A, 1, 0x61]  // 1, delimited: "a"
            + [0x10, 3]  // 2, varint: EDS
            + [0x22, 5, 0x10, 0x80, 0xE5, 0x9A, 0x77]  // 4, delimited: nanos (2, varint) = 250,000,000
            + [0x2A, 3, 0x08, 0xAC, 0x02]  // 5, delimited: value (1, varint) = 300
            + [0x30, 3]  // 6, varint: RANDOM
        #expect(cluster.serialized() == expected)
        #expect(try Cluster(serialized: expected) == cluster)
    }

    @Test("numbers in a row are packed, and read packed or not")
    func packed() throws {
        var policy = RetryPolicy()
        policy.retriableStatusCodes = [503, 1]
        #expect(policy.serialized() == [0x3A, 3, 0xF7, 0x03, 0x01])
        #expect(try RetryPolicy(serialized: [0x38, 0xF7, 0x03, 0x38, 0x01]) == policy)
    }

    @Test("entries of maps are sorted, so equal messages have equal bytes")
    func maps() throws {
        var metadata = Metadata()
        metadata.filterMetadata = ["b": [:], "a": ["k": ["x", 1, .null, true]]]
        let bytes = metadata.serialized()
        #expect(try Metadata(serialized: bytes) == metadata)
        // {1: {1: "a", 2: {1: {1: "k", 2: {6: {1: {3: "x"}, 1: {2: 1.0}, 1: {1: 0}, 1: {4: 1}}}}}}}, {1: {1: "b", 2: {}}}
        let list: [UInt8] =
            [0x0A, 3, 0x1A, 1, 0x78, 0x0A, 9, 0x11, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F]
            + [0x0A, 2, 0x08, 0, 0x0A, 2, 0x20, 1]
        let entry: [UInt8] = [0x0A, 1, 0x6B, 0x12, UInt8(list.count + 2), 0x32, UInt8(list.count)] + list
        let a: [UInt8] = [0x0A, 1, 0x61, 0x12, UInt8(entry.count + 2), 0x0A, UInt8(entry.count)] + entry
        #expect(bytes == [0x0A, UInt8(a.count)] + a + [0x0A, 5, 0x0A, 1, 0x62, 0x12, 0])
    }

    @Test("unknown fields of every wire type are passed over")
    func unknown() throws {
        let bytes: [UInt8] = [
            0xA0, 0x06, 1, 0xA1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0xA2, 0x06, 1, 0xFF, 0xA5, 0x06, 1, 2, 3, 4,
        ]
        #expect(try Locality(serialized: bytes + [0x0A, 1, 0x72]).region == "r")
    }

    @Test("a message given twice is merged, a scalar given twice counts the last time")
    func merging() throws {
        var first = Listener()
        first.metadata = Metadata()
        first.metadata?.filterMetadata["a"] = [:]
        var second = Listener()
        second.name = "later"
        second.metadata = Metadata()
        second.metadata?.filterMetadata["b"] = [:]
        let merged = try Listener(serialized: first.serialized() + second.serialized())
        #expect(merged.name == "later")
        #expect(merged.metadata?.filterMetadata.count == 2)
    }

    @Test(
        "broken bytes are refused with the field",
        arguments: [
            ([0x0A, 5, 0x61], "name: length 5 beyond the end"),
            ([0x0A, 1, 0xFF], "name: a string that is not UTF-8"),
            ([0x08, 1], "name: wire type 0 instead of 2"),
            ([0x00, 1], "field number 0"),
            ([0x0B], "wire type 3"),
            ([0x80], "the bytes end inside an integer"),
            (
                [0x22, 11, 0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02],
                "connect_timeout: integer of more than 64 bits"
            ),
        ] as [([UInt8], String)])
    func broken(bytes: [UInt8], message: String) throws {
        let error = try #require(throws: MessageError.self) { try Cluster(serialized: bytes) }
        #expect(error.description == message)
    }

    @Test("deep nesting is refused")
    func depth() throws {
        var bytes: [UInt8] = []
        for _ in 0..<300 {  // AccessLogFilter.and_filter.filters, again and again
            bytes = [0x0A] + length(bytes.count) + bytes
            bytes = [0x32] + length(bytes.count) + bytes
        }
        let deep = bytes
        #expect(throws: MessageError.self) { try AccessLogFilter(serialized: deep) }
    }

    private func length(_ count: Int) -> [UInt8] {
        var rest = count
        var result: [UInt8] = []
        while rest >= 128 {
            result.append(UInt8(rest & 127) | 128)
            rest >>= 7
        }
        return result + [UInt8(rest)]
    }

    @Test("no bytes make a message trap")
    func noise() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var state = seed | 1
        func next() -> UInt64 {
            state ^= state >> 12
            state ^= state << 25
            state ^= state >> 27
            return state &* 2_685_821_657_736_338_717
        }
        for _ in 0..<3000 {
            let bytes = (0..<(next() % 40)).map { _ in next() % 3 == 0 ? UInt8(next() % 32) : UInt8(next() % 256) }
            for type in [Bootstrap.self, DeltaDiscoveryResponse.self, RouteConfiguration.self, Node.self]
                as [any Message.Type]
            {
                if let message = try? type.init(serialized: bytes) { _ = message.json }
            }
        }
    }

    @Test("numbers of fixed width take four and eight bytes")
    func fixedWidth() throws {
        var span = OTLPSpan()
        span.flags = 1
        span.startTimeUnixNano = 0x0102_0304_0506_0708
        let bytes = span.serialized()
        #expect(bytes.contains([0x39, 8, 7, 6, 5, 4, 3, 2, 1]))
        #expect(bytes.contains([0x85, 0x01, 1, 0, 0, 0]))
        #expect(try OTLPSpan(serialized: bytes) == span)
        #expect(try OTLPSpan(json: span.json) == span)
    }

    @Test("every message survives bytes and JSON with nothing in it")
    func empty() throws {
        for typeURL in MessageRegistry.envoy.typeURLs {
            let type = try #require(MessageRegistry.envoy.type(of: typeURL))
            func check<M: Message>(_ type: M.Type) throws {
                #expect(M().serialized().isEmpty)
                #expect(try M(serialized: []) == M())
                #expect(M().json == .object([:]))
                #expect(try M(json: .object([:])) == M())
            }
            try check(type)
            #expect(type.typeURL == typeURL)
        }
        for unknown in [
            "", "/", "envoy", "envoy.admin.v3.BootstrapConfigDum", "envoy.admin.v3.BootstrapConfigDumps", "z",
        ] {
            #expect(MessageRegistry.envoy.type(of: "type.googleapis.com/" + unknown) == nil)
        }
        #expect(MessageRegistry.none.type(of: "type.googleapis.com/envoy.config.core.v3.Locality") == nil)
    }
}
