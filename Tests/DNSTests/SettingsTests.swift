import IO
import Testing

@testable import DNS

@Suite("Settings of names")
struct SettingsTests {
    private let fallback = UpstreamGroup([Upstream(.ip(.v4(0x0A00_0001), port: 53))])

    @Test("a Corefile says who is asked for which domain, and how")
    func corefile() throws {
        let text = """
            # names of the company
            corp.example:53 {
                errors
                log
                forward . 10.1.0.1 10.1.0.2:5353 { # two
                    policy round_robin
                    except closed.corp.example
                }
            }
            .:53 {
                kubernetes cluster.local in-addr.arpa ip6.arpa {
                    pods insecure
                    fallthrough in-addr.arpa ip6.arpa
                }
                forward . tls://9.9.9.9 tls://[fd00::9]:8853 {
                    tls_servername "dns.example"
                    tls /etc/ca.pem
                }
                cache 60 {
                    denial 100 5
                    serve_stale 2h
                    servfail 10s
                }
                autopath @kubernetes
                ratelimit 500
            }
            """
        let settings = NameSettings(configMaps: ["coredns": ["Corefile": text]], fallback: fallback)
        #expect(settings.problems == [])
        let company = try #require(settings.plan.group(for: name("www.corp.example")))
        #expect(company.servers.map(\.address.description) == ["10.1.0.1:53", "10.1.0.2:5353"])
        #expect(company.rotates)
        #expect(settings.plan.group(for: name("x.closed.corp.example"))?.servers == [])
        let outside = try #require(settings.plan.group(for: name("www.example")))
        #expect(
            outside.servers == [
                Upstream(
                    .ip(.v4(0x0909_0909), port: 853), .tls(serverName: "dns.example", authorities: "/etc/ca.pem")),
                Upstream(
                    .ip(.v6(high: 0xFD00_0000_0000_0000, low: 9), port: 8853),
                    .tls(serverName: "dns.example", authorities: "/etc/ca.pem")),
            ])
        #expect(settings.plan.cache.ttlMax == 60 && settings.plan.cache.negativeTTLMax == 5)
        #expect(settings.plan.cache.staleMax == .seconds(7200) && settings.plan.cache.failureTTL == .seconds(10))
        #expect(settings.logs == [name("corp.example")])
        #expect(settings.usesShortcuts && settings.clientRate == 500)
    }

    @Test("kube-dns' ConfigMap says the same of stub domains; a Corefile's word counts more")
    func stubs() throws {
        let data = [
            "stubDomains": #"{"corp.example": ["10.1.0.1:5353"], "lab.example": ["fd00::1"]}"#,
            "upstreamNameservers": #"["8.8.8.8"]"#,
        ]
        let corefile = "lab.example {\n forward . 10.2.0.1 {\n force_tcp\n }\n}"
        let settings = NameSettings(
            configMaps: ["kube-dns": data, "coredns": ["Corefile": corefile]], fallback: fallback)
        #expect(settings.problems == [])
        func servers(_ text: String) -> [Upstream]? { settings.plan.group(for: name(text))?.servers }
        #expect(servers("a.corp.example")?.map(\.address.description) == ["10.1.0.1:5353"])
        #expect(servers("lab.example") == [Upstream(.ip(.v4(0x0A02_0001), port: 53), .stream)])
        #expect(servers("example.com")?.map(\.address.description) == ["8.8.8.8:53"])
    }

    @Test(
        "what is not understood is said with its line, and everything else counts",
        arguments: [
            (".:5353 {\n log\n}", "line 1"), (". {\n rewrite name a b\n}", "rewrite is not done"),
            (". {\n forward . dns.example\n}", "line 2"), (". {\n forward .\n}", "FROM and TO"),
            (". {\n forward . 1.1.1.1 {\n tls a b c\n }\n}", "tls a b c"), (". {\n cache x\n}", "seconds"),
            (". {\n ratelimit many\n}", "ratelimit"), ("{$DOMAIN} {\n log\n}", "line 1"), (". {\n log", "not closed"),
            ("}", "closes nothing"), (". {\n kubernetes cluster.local {\n ttl 60\n }\n}", "ttl 60"),
            (". {\n cache {\n prefetch 1\n }\n}", "prefetch"), (". {\n log \"a\n}", "quote"),
        ])
    func problems(text: String, part: String) {
        let settings = NameSettings(
            configMaps: ["coredns": ["Corefile": text], "kube-dns": ["upstreamNameservers": #"["8.8.8.8"]"#]],
            fallback: fallback)
        #expect(settings.problems.contains { $0.contains(part) }, "\(settings.problems)")
        if part != "tls a b c" {
            #expect(settings.plan.groups[.root]?.servers.first?.address.description == "8.8.8.8:53")
        }
    }

    @Test("ConfigMaps of the wrong form change nothing")
    func wrong() {
        for data in [
            ["stubDomains": "{"], ["stubDomains": "[]"], ["stubDomains": #"{"a..b": ["1.1.1.1"]}"#], ["other": "x"],
            ["upstreamNameservers": #"["dns.example"]"#], ["upstreamNameservers": "[]"],
        ] {
            let settings = NameSettings(configMaps: ["kube-dns": data], fallback: fallback)
            #expect(settings.problems.count == 1)
            #expect(settings.plan == ForwardingPlan(fallback))
        }
    }
}
