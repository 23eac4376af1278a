import Serialization
import Testing

@testable import Upstream

@Suite struct SubsetTests {
    private func table(_ hosts: [JSON]) -> EndpointTable {
        var group = endpoints(hosts.count)
        for (index, metadata) in hosts.enumerated() { group.endpoints[index].metadata = ["envoy.lb": metadata] }
        var table = EndpointTable()
        table.groups = [group]
        return table
    }

    private func balancer(_ config: String, _ hosts: [JSON]) throws -> LoadBalancer {
        let compiled = try cluster(#"{"name":"c","lb_subset_config":"# + config + "}")
        let set = HostSet()
        set.apply(table(hosts))
        return LoadBalancer(compiled, hostSet: set)
    }

    private func hosts(_ balancer: LoadBalancer, _ criteria: [String: JSON]) -> [String] {
        var generator = SplitMix64(seed: 5)
        var request = LoadBalancer.Request()
        request.criteria = MetadataCriteria(criteria, readsAlternatives: true)
        var found: Set<String> = []
        for _ in 0..<60 {
            found.insert(balancer.choose(request, random: generator.next()).map { "\($0.address)" } ?? "none")
        }
        return found.sorted()
    }

    @Test("a subset is the hosts whose metadata has all keys of a selector with the wanted values")
    func selection() throws {
        let balancer = try balancer(
            #"{"subset_selectors":[{"keys":["v"]},{"keys":["stage","v"]}]}"#,
            [["v": "1", "stage": "a"], ["v": "1", "stage": "b"], ["v": "2", "stage": "a"]])
        #expect(hosts(balancer, ["v": "1"]) == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(hosts(balancer, ["v": "1", "stage": "b"]) == ["10.0.0.2:80"])
        #expect(hosts(balancer, ["v": "3"]) == ["none"])
        #expect(hosts(balancer, ["stage": "a"]) == ["none"])
        #expect(hosts(balancer, [:]) == ["none"])
    }

    @Test("fallback: any host, the default subset, a selector's own, fewer keys")
    func fallback() throws {
        let facts: [JSON] = [["v": "1", "d": true], ["v": "2"]]
        #expect(
            hosts(
                try balancer(#"{"fallback_policy":"ANY_ENDPOINT","subset_selectors":[{"keys":["v"]}]}"#, facts),
                ["v": "9"])
                == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(
            hosts(
                try balancer(
                    #"{"fallback_policy":"DEFAULT_SUBSET","default_subset":{"d":true},"subset_selectors":[{"keys":["v"]}]}"#,
                    facts), ["v": "9"]) == ["10.0.0.1:80"])
        #expect(
            hosts(
                try balancer(
                    #"{"fallback_policy":"ANY_ENDPOINT","subset_selectors":[{"keys":["v"],"fallback_policy":"NO_FALLBACK"}]}"#,
                    facts), ["v": "9"]) == ["none"])
        let keys = try balancer(
            #"{"subset_selectors":[{"keys":["v"]},{"keys":["v","w"],"fallback_policy":"KEYS_SUBSET","fallback_keys_subset":["v"]}]}"#,
            facts)
        #expect(hosts(keys, ["v": "2", "w": "x"]) == ["10.0.0.2:80"])
    }

    @Test("a list counts as each of its values; a subset's hosts that fail leave its panic or any host")
    func lists() throws {
        let list = try balancer(
            #"{"list_as_any":true,"subset_selectors":[{"keys":["v"]}]}"#, [["v": ["1", "2"]], ["v": "2"]])
        #expect(hosts(list, ["v": "1"]) == ["10.0.0.1:80"])
        #expect(hosts(list, ["v": "2"]) == ["10.0.0.1:80", "10.0.0.2:80"])
        let single = try balancer(
            #"{"subset_selectors":[{"keys":["v"],"single_host_per_subset":true}]}"#, [["v": "1"], ["v": "1"]])
        #expect(hosts(single, ["v": "1"]) == ["10.0.0.1:80"])
    }

    @Test("fallback_list is tried value by value")
    func fallbackList() throws {
        let balancer = try balancer(
            #"{"metadata_fallback_policy":"FALLBACK_LIST","subset_selectors":[{"keys":["v"]}]}"#,
            [["v": "1"], ["v": "2"]])
        #expect(hosts(balancer, ["fallback_list": [["v": "9"], ["v": "2"]]]) == ["10.0.0.2:80"])
    }

    @Test("subsets follow endpoint updates and health")
    func updates() throws {
        let balancer = try balancer(#"{"subset_selectors":[{"keys":["v"]}]}"#, [["v": "1"], ["v": "2"]])
        #expect(hosts(balancer, ["v": "2"]) == ["10.0.0.2:80"])
        balancer.hostSet.apply(table([["v": "2"], ["v": "1"], ["v": "2"]]))
        #expect(hosts(balancer, ["v": "2"]) == ["10.0.0.1:80", "10.0.0.3:80"])
        balancer.hostSet.panicThresholdPercent = 0
        balancer.hostSet.set(.ejected, of: balancer.hostSet.hosts[0], to: true)
        #expect(hosts(balancer, ["v": "2"]) == ["10.0.0.3:80"])
    }

    @Test("the same by typed policies: subset over ring hash, localities over peak EWMA, override over random")
    func typedPolicies() throws {
        func compile(_ policy: String) throws -> ClusterConfig {
            try cluster(
                #"{"name":"c","load_balancing_policy":{"policies":[{"typed_extension_config":{"name":"x","typed_config":"#
                    + policy + "}}]}}")
        }
        func inner(_ policy: String) -> String {
            #"{"policies":[{"typed_extension_config":{"name":"y","typed_config":"# + policy + "}}]}"
        }
        let base = #"type.googleapis.com/envoy.extensions.load_balancing_policies"#
        let ring = inner(
            #"{"@type":"\#(base).ring_hash.v3.RingHash","minimum_ring_size":64,"hash_function":"MURMUR_HASH_2"}"#)
        let subset = try compile(
            #"{"@type":"\#(base).subset.v3.Subset","fallback_policy":"ANY_ENDPOINT","subset_selectors":[{"keys":["b","a"]}],"subset_lb_policy":\#(ring)}"#
        )
        #expect(subset.balancing == .ringHash(minimumSize: 64, maximumSize: 8_388_608))
        #expect(subset.balancingOptions.ringUsesMurmur)
        #expect(subset.balancingOptions.subsets?.selectors.first?.keys == ["a", "b"])
        let peak = inner(#"{"@type":"\#(base).peak_ewma.v3alpha.PeakEwma","decay_time":"5s"}"#)
        let local = try compile(#"{"@type":"\#(base).wrr_locality.v3.WrrLocality","endpoint_picking_policy":\#(peak)}"#)
        #expect(local.isLocalityWeighted && local.measuresLatency)
        let random = inner(#"{"@type":"\#(base).random.v3.Random"}"#)
        let override = try compile(
            #"{"@type":"\#(base).override_host.v3.OverrideHost","override_host_sources":[{"header":"x-host"}],"fallback_policy":\#(random)}"#
        )
        #expect(
            override.balancing == .random
                && override.balancingOptions.overrideSources == [.header(HeaderName("x-host"))])
        #expect(try compile(#"{"@type":"type.googleapis.com/skein.load_balancing.v1.Nearest"}"#).balancing == .nearest)
        let bytes = try compile(#"{"@type":"type.googleapis.com/skein.load_balancing.v1.LeastBytesInFlight"}"#)
        #expect(bytes.balancing == .leastBytes(choiceCount: 2) && bytes.countsBytes)
    }
}
