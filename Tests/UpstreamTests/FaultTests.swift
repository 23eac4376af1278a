import EnvoyAPI
import Serialization
import Testing

@testable import Upstream

@Suite struct FaultTests {
    private func policy(_ json: String) throws -> FaultPolicy {
        try FaultPolicy(compiling: try HTTPFault(json: try JSON.parse(json)))
    }

    private let always =
        #""delay":{"fixed_delay":"2s","percentage":{"numerator":100}},"abort":{"http_status":503,"percentage":{"numerator":100}}"#

    @Test("H-17 an absent percentage injects nothing")
    func absent() throws {
        let policy = try policy(#"{"delay":{"fixed_delay":"2s"},"abort":{"http_status":503}}"#)
        var generator = SplitMix64(seed: 1)
        for _ in 0..<1000 {
            let decision = policy.decide(for: TestRequest(), cluster: "c", random: generator.next())
            #expect(decision == FaultPolicy.Decision())
        }
    }

    @Test("H-17 delay and abort follow their percentages, independently, seed 2")
    func shares() throws {
        let policy = try policy(
            #"{"delay":{"fixed_delay":"1s","percentage":{"numerator":30}},"abort":{"grpc_status":14,"percentage":{"numerator":100000,"denominator":"MILLION"}}}"#
        )
        var generator = SplitMix64(seed: 2)
        var delays = 0
        var aborts = 0
        var both = 0
        for _ in 0..<20_000 {
            let decision = policy.decide(for: TestRequest(), cluster: "c", random: generator.next())
            if decision.delay == .seconds(1) { delays += 1 }
            if decision.abort == .grpc(14) { aborts += 1 }
            if decision.delay != nil, decision.abort != nil { both += 1 }
        }
        #expect(isNear(delays, share: 0.3, of: 20_000))
        #expect(isNear(aborts, share: 0.1, of: 20_000))
        #expect(isNear(both, share: 0.03, of: 20_000))
    }

    @Test("cluster, headers and nodes choose the requests")
    func conditions() throws {
        let none = FaultPolicy.Decision()
        let byCluster = try policy("{\(always),\"upstream_cluster\":\"c\"}")
        #expect(byCluster.decide(for: TestRequest(), cluster: "c", random: 0).abort == .http(503))
        #expect(byCluster.decide(for: TestRequest(), cluster: "d", random: 0) == none)
        let byHeader = try policy(#"{\#(always),"headers":[{"name":"end-user","string_match":{"exact":"jason"}}]}"#)
        #expect(
            byHeader.decide(for: TestRequest("/", ["end-user": "jason"]), cluster: "c", random: 0).delay == .seconds(2))
        #expect(byHeader.decide(for: TestRequest(), cluster: "c", random: 0) == none)
        let byNode = try policy(#"{\#(always),"downstream_nodes":["n1","n2"]}"#)
        let known = TestRequest("/", ["x-envoy-downstream-service-node": "n2"])
        #expect(byNode.decide(for: known, cluster: "c", random: 0) != none)
        #expect(byNode.decide(for: TestRequest(), cluster: "c", random: 0) == none)
    }

    @Test("headers ask for faults, and may lower a share but not raise it")
    func headers() throws {
        let policy = try policy(
            #"{"delay":{"header_delay":{},"percentage":{"numerator":100}},"abort":{"header_abort":{},"percentage":{"numerator":100}},"response_rate_limit":{"header_limit":{},"percentage":{"numerator":0}}}"#
        )
        #expect(policy.decide(for: TestRequest(), cluster: "c", random: 0) == FaultPolicy.Decision())
        let all = TestRequest(
            "/",
            [
                "x-envoy-fault-delay-request": "250", "x-envoy-fault-abort-request": "503",
                "x-envoy-fault-abort-grpc-request": "5", "x-envoy-fault-throughput-response": "10",
                "x-envoy-fault-throughput-response-percentage": "100",
            ])
        let decision = policy.decide(for: all, cluster: "c", random: 0)
        #expect(decision.delay == .milliseconds(250))
        #expect(decision.abort == .http(503))
        #expect(decision.responseKilobytesPerSecond == nil)
        let lowered = TestRequest(
            "/",
            [
                "x-envoy-fault-delay-request": "250", "x-envoy-fault-delay-request-percentage": "0",
                "x-envoy-fault-abort-request": "99", "x-envoy-fault-abort-grpc-request": "5",
            ])
        let other = policy.decide(for: lowered, cluster: "c", random: 0)
        #expect(other.delay == nil)
        #expect(other.abort == .grpc(5))
    }

    @Test("0 % is never and 100 % is always, at both ends of the draw")
    func edges() {
        #expect(!Fraction.none.includes(random: 0))
        #expect(!Fraction.none.includes(random: .max))
        #expect(Fraction.all.includes(random: 0))
        #expect(Fraction.all.includes(random: .max))
        #expect(Fraction(numerator: 500, denominator: 100).includes(random: .max))
    }
}

@Suite struct RequestHashTests {
    private func hash(_ policies: String, _ request: TestRequest, source: String = "10.0.0.7") throws -> RequestHash {
        let table = try routes(#"{"match":{"prefix":"/"},"route":{"cluster":"c","hash_policy":[\#(policies)]}}"#)
        guard case .forward(let forwarding) = table.virtualHosts[0].routes[0].action else {
            throw ConfigurationError(at: "", "no route")
        }
        let bytes = Array(source.utf8)
        return RequestHash(forwarding.hashPolicies, request: request, sourceAddress: bytes.span, random: 0xAB)
    }

    @Test("B-2 header, source address and query parameter")
    func sources() throws {
        let header = #"{"header":{"header_name":"x-user"}}"#
        #expect(try hash(header, TestRequest("/", ["x-user": "u"])).value == Hash.xxh64("u"))
        #expect(try hash(header, TestRequest("/")).value == nil)
        let address = #"{"connection_properties":{"source_ip":true}}"#
        #expect(try hash(address, TestRequest("/")).value == Hash.xxh64("10.0.0.7"))
        let query = #"{"query_parameter":{"name":"k"}}"#
        #expect(try hash(query, TestRequest("/?a=1&k=v#f")).value == Hash.xxh64("v"))
        #expect(try hash(query, TestRequest("/?kk=v")).value == nil)
    }

    @Test("the order of a repeated header does not matter")
    func repeated() throws {
        let header = #"{"header":{"header_name":"x"}}"#
        let one = try hash(header, TestRequest("/", ["x": "a", "x": "b"]))
        let other = try hash(header, TestRequest("/", ["x": "b", "x": "a"]))
        #expect(one.value == other.value)
        #expect(one.value != nil)
    }

    @Test("B-2 a cookie that is absent is made when it has a lifetime")
    func cookie() throws {
        let policy = #"{"cookie":{"name":"sid","ttl":"3600s","path":"/p"}}"#
        let made = try hash(policy, TestRequest("/"))
        #expect(text(made.newCookie?.field) == "sid=00000000000000ab; Max-Age=3600; Path=/p; HttpOnly")
        let next = try hash(policy, TestRequest("/", ["cookie": "a=b; sid=00000000000000ab"]))
        #expect(next.value == made.value)
        #expect(next.newCookie == nil)
        let session = try hash(#"{"cookie":{"name":"sid","ttl":"0s"}}"#, TestRequest("/"))
        #expect(text(session.newCookie?.field) == "sid=00000000000000ab; HttpOnly")
        let none = try hash(#"{"cookie":{"name":"sid"}}"#, TestRequest("/"))
        #expect(none == (try hash(#"{"header":{"header_name":"no"}}"#, TestRequest("/"))))
    }

    @Test("a terminal policy ends the list once there is a hash")
    func terminal() throws {
        let policies =
            #"{"header":{"header_name":"x"},"terminal":true},{"connection_properties":{"source_ip":true}}"#
        #expect(try hash(policies, TestRequest("/", ["x": "v"])).value == Hash.xxh64("v"))
        #expect(try hash(policies, TestRequest("/")).value == Hash.xxh64("10.0.0.7"))
        let both = #"{"header":{"header_name":"x"}},{"connection_properties":{"source_ip":true}}"#
        #expect(try hash(both, TestRequest("/", ["x": "v"])).value != Hash.xxh64("v"))
    }
}
