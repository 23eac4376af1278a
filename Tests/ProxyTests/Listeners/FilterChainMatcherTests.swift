import EnvoyAPI
import IO
import Testing
import Upstream

@testable import Proxy

@Suite("Filter chain matching")
struct FilterChainMatcherTests {
    private func match(_ change: (inout FilterChainMatch) -> Void) -> FilterChainMatch {
        var match = FilterChainMatch()
        change(&match)
        return match
    }

    private func range(_ address: String, _ length: UInt32) -> CidrRange {
        var range = CidrRange()
        range.addressPrefix = address
        range.prefixLen = length
        return range
    }

    private func find(
        _ matches: [FilterChainMatch], to destination: String = "10.1.2.3:80", from source: String = "10.9.9.9:4000",
        name: String = "", transport: String = "raw_buffer", protocols: [String] = []
    ) throws -> Int? {
        let matcher = try FilterChainMatcher(matches, at: "")
        guard let destination = IO.SocketAddress(destination), let source = IO.SocketAddress(source) else {
            Issue.record("no address")
            return nil
        }
        return matcher.find(
            FilterChainMatcher.Connection(
                destination: destination, source: source, directSource: source, serverName: name,
                transportProtocol: transport, applicationProtocols: protocols))
    }

    @Test("a port beats everything behind it, and there is no way back from it")
    func port() throws {
        let chains = [
            match {
                $0.destinationPort = 80; $0.serverNames = ["a"]
            }, match { $0.prefixRanges = [range("10.1.2.3", 32)] },
        ]
        #expect(try find(chains, name: "a") == 0)
        #expect(try find(chains, name: "b") == nil)
        #expect(try find(chains, to: "10.1.2.3:81", name: "a") == 1)
    }

    @Test("the longest prefix wins, then the most specific name")
    func prefixAndName() throws {
        let chains = [
            match { $0.prefixRanges = [range("10.0.0.0", 8)] }, match { $0.prefixRanges = [range("10.1.0.0", 16)] },
            match { $0.prefixRanges = [range("fd00::", 8)] }, FilterChainMatch(),
        ]
        #expect(try find(chains) == 1)
        #expect(try find(chains, to: "10.2.0.1:80") == 0)
        #expect(try find(chains, to: "[fd00::1]:80") == 2)
        #expect(try find(chains, to: "192.0.2.1:80") == 3)
        let names = [
            match { $0.serverNames = ["*.example.com"] }, match { $0.serverNames = ["www.example.com"] },
            match { $0.serverNames = ["*.com"] }, match { $0.transportProtocol = "tls" },
        ]
        #expect(try find(names, name: "www.example.com") == 1)
        #expect(try find(names, name: "x.y.example.com") == 0)
        #expect(try find(names, name: "example.com") == 2)
        #expect(try find(names, name: "org", transport: "tls") == 3)
        #expect(try find(names) == nil)
    }

    @Test("application protocols count in the client's order")
    func protocols() throws {
        let chains = [
            match { $0.applicationProtocols = ["h2"] }, match { $0.applicationProtocols = ["http/1.1"] },
            FilterChainMatch(),
        ]
        #expect(try find(chains, protocols: ["http/1.1", "h2"]) == 1)
        #expect(try find(chains, protocols: ["h2", "http/1.1"]) == 0)
        #expect(try find(chains, protocols: ["x"]) == 2)
    }

    @Test("source type, source prefix and source port")
    func sources() throws {
        let chains = [
            match { $0.sourceType = .sameIpOrLoopback },
            match {
                $0.sourceType = .external; $0.sourcePorts = [4000]
            },
            match {
                $0.sourceType = .external; $0.sourcePrefixRanges = [range("10.9.0.0", 16)]
            },
            match { $0.directSourcePrefixRanges = [range("192.0.2.0", 24)] },
        ]
        #expect(try find(chains, from: "10.1.2.3:1") == 0)
        #expect(try find(chains, from: "127.0.0.1:1") == 0)
        #expect(try find(chains, from: "11.0.0.1:4000") == 1)
        #expect(try find(chains, from: "10.9.0.1:4000") == 2)
        #expect(try find(chains, from: "192.0.2.1:4000") == 3)
    }

    @Test("chains with the same rules and partial wildcards are refused")
    func refused() {
        #expect(throws: ConfigurationError.self) {
            try find([match { $0.serverNames = ["a", "b"] }, match { $0.serverNames = ["b"] }])
        }
        #expect(throws: ConfigurationError.self) { try find([match { $0.serverNames = ["*foo.com"] }]) }
        #expect(throws: ConfigurationError.self) { try find([match { $0.suffixLen = 4 }]) }
    }

    @Test("ten thousand chains are found by name and by address")
    func many() throws {
        var chains: [FilterChainMatch] = []
        for index in 0..<10_000 {
            chains.append(
                match {
                    $0.destinationPort = 443
                    if index.isMultiple(of: 2) {
                        $0.serverNames = ["s\(index).example.com"]
                    } else {
                        $0.prefixRanges = [range("10.\(index / 256).\(index % 256).1", 32)]
                    }
                })
        }
        #expect(try find(chains, to: "10.3.5.1:443") == 3 * 256 + 5)
        #expect(try find(chains, to: "11.0.0.1:443", name: "s5000.example.com") == 5000)
        #expect(try find(chains, to: "11.0.0.1:443", name: "s5001.example.com") == nil)
    }
}
