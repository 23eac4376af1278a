import IO
import Testing

@testable import Network

@Suite("Capture rules")
struct CaptureRulesTests {
    @Test("compile to the same text every time")
    func golden() {
        let text = CaptureRules.compile(CaptureOptions(), owner: "pod shop/web")
        #expect(
            text == """
                add table inet skein_capture
                delete table inet skein_capture
                add table inet skein_capture { comment "skein: capture of pod shop/web"; }
                add chain inet skein_capture inbound { type nat hook prerouting priority -100; }
                add chain inet skein_capture outbound { type nat hook output priority -100; }
                add chain inet skein_capture guard { type filter hook input priority 0; }
                add rule inet skein_capture inbound meta l4proto != tcp return
                add rule inet skein_capture inbound iifname lo return
                add rule inet skein_capture inbound ip saddr 169.254.7.127 return
                add rule inet skein_capture inbound ip6 saddr fd16:9254:7127:1337:ffff:ffff:ffff:ffff return
                add rule inet skein_capture inbound tcp dport { 15020, 15021, 15090 } return
                add rule inet skein_capture inbound meta l4proto tcp redirect to :15006
                add rule inet skein_capture outbound meta l4proto != tcp return
                add rule inet skein_capture outbound oifname lo ip saddr 127.0.0.6 return
                add rule inet skein_capture outbound oifname lo ip6 saddr ::6 return
                add rule inet skein_capture outbound oifname lo meta skuid 1337 ip daddr != 127.0.0.0/8 meta l4proto tcp redirect to :15006
                add rule inet skein_capture outbound oifname lo meta skuid 1337 ip6 daddr != ::1 meta l4proto tcp redirect to :15006
                add rule inet skein_capture outbound meta skuid 1337 return
                add rule inet skein_capture outbound oifname lo return
                add rule inet skein_capture outbound meta l4proto tcp redirect to :15001
                add rule inet skein_capture guard tcp dport { 15001, 15006 } ct original proto-dst { 15001, 15006 } reject with tcp reset

                """)
    }

    @Test("nothing that people write can leave a comment")
    func comments() {
        let text = CaptureRules.compile(CaptureOptions(), owner: "a\"; }\ndelete table inet x\n#")
        #expect(
            text.contains("\"skein: capture of a??????delete table inet x??\"")
                || !text.contains("\ndelete table inet x"))
        #expect(text.split(separator: "\n").count == 21)
        #expect(NFTables.comment(String(repeating: "x", count: 500)).utf8.count == 122)
    }

    @Test("annotations choose destinations and ports, each one once")
    func annotations() throws {
        let options = try CaptureOptions(annotations: [
            "traffic.sidecar.istio.io/includeOutboundIPRanges": "10.96.0.0/16, fd00::/8,10.96.1.0/24",
            "traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.0.0.1",
            "traffic.sidecar.istio.io/excludeOutboundPorts": "5432,5432",
            "traffic.sidecar.istio.io/includeInboundPorts": "80,8080",
            "traffic.sidecar.istio.io/excludeInboundPorts": "22,15020", "other": "x",
        ])
        let text = CaptureRules.compile(options, owner: "x")
        #expect(text.contains("outbound ip daddr { 10.96.0.0/16 } meta l4proto tcp redirect to :15001\n"))
        #expect(text.contains("outbound ip6 daddr { fd00::/8 } meta l4proto tcp redirect to :15001\n"))
        #expect(text.contains("outbound ip daddr { 10.0.0.1/32 } return\n"))
        #expect(text.contains("outbound tcp dport { 5432 } return\n"))
        #expect(text.contains("inbound tcp dport { 80, 8080 } redirect to :15006\n"))
        #expect(text.contains("inbound tcp dport { 15020, 15021, 15090, 22 } return\n"))
        #expect(!text.contains("outbound meta l4proto tcp redirect to :15001"))
    }

    @Test("an empty list includes nothing, a star everything")
    func selections() throws {
        let none = try CaptureOptions(annotations: [
            "traffic.sidecar.istio.io/includeOutboundIPRanges": "", "traffic.sidecar.istio.io/includeInboundPorts": "",
        ])
        let text = CaptureRules.compile(none, owner: "x")
        #expect(!text.contains("redirect to :15001"))
        #expect(!text.contains("inbound meta l4proto tcp redirect"))
        let all = try CaptureOptions(annotations: ["traffic.sidecar.istio.io/includeInboundPorts": "*"])
        #expect(all == CaptureOptions())
    }

    @Test(
        "a value that cannot be used is refused with its path",
        arguments: [
            ("excludeOutboundPorts", "80,http"), ("excludeInboundPorts", "0"), ("excludeInboundPorts", "70000"),
            ("includeOutboundIPRanges", "10.0.0.0/33"), ("excludeOutboundIPRanges", "*"), ("unknown", "x"),
        ])
    func refused(name: String, value: String) {
        let path = "traffic.sidecar.istio.io/\(name)"
        let error = #expect(throws: NetworkError.self) { try CaptureOptions(annotations: [path: value]) }
        #expect(error?.description.hasPrefix("metadata.annotations[\(path)]: ") == true)
    }

    @Test("the arguments of istio-init mean the same")
    func istioInit() throws {
        let options = try CaptureOptions(istioInitArguments: [
            "istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b",
            "*", "-d", "15090,15021,15020", "--log_output_level=default:info",
        ])
        #expect(options.excludeInboundPorts == [15090, 15021, 15020])
        let old = try CaptureOptions(istioInitArguments: ["-p", "9000", "-u", "2000"])
        #expect(old.outboundPort == 9000)
        #expect(old.proxyUID == 2000)
        #expect(throws: NetworkError.self) { try CaptureOptions(istioInitArguments: ["-u", "0"]) }
        #expect(throws: NetworkError.self) { try CaptureOptions(istioInitArguments: ["-p"]) }
        #expect(throws: NetworkError.self) { try CaptureOptions(istioInitArguments: ["--bogus"]) }
    }
}
