import IO
import Testing

@Suite struct AddressTests {
    @Test(
        "addresses read and print in their canonical form",
        arguments: [
            ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
            ("::", "::"), ("::1", "::1"), ("fd00::2", "fd00::2"), ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("::ffff:10.0.0.1", "::ffff:a00:1"), ("1::", "1::"),
            ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ])
    func roundTrip(text: String, canonical: String) {
        #expect(IPAddress(text)?.description == canonical)
    }

    @Test(
        "ATK-46 what is no address is refused",
        arguments: [
            "", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", ":", ":::", "1::2::3", "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9", "12345::", "fe80::1%eth0", "[::1]", "::g", "1:", ":1", "::1.2.3",
            "1:2:3:4:5:6:7:1.2.3.4",
        ])
    func refused(text: String) { #expect(IPAddress(text) == nil) }

    @Test("ATK-46 an IPv4-mapped address is the IPv4 address")
    func mapped() { #expect(IPAddress("::ffff:10.0.0.1")?.canonical == IPAddress("10.0.0.1")) }

    @Test("a prefix holds exactly its range")
    func prefixes() throws {
        let prefix = try #require(Prefix("10.244.3.7/22"))
        #expect(prefix.description == "10.244.0.0/22")
        #expect(prefix.contains(try #require(IPAddress("10.244.3.255"))))
        #expect(!prefix.contains(try #require(IPAddress("10.244.4.0"))))
        #expect(!prefix.contains(try #require(IPAddress("::1"))))
        #expect(Prefix("10.0.0.0/33") == nil)
        #expect(Prefix("10.0.0.0/-1") == nil)
        #expect(try #require(Prefix("0.0.0.0/0")).contains(try #require(IPAddress("1.2.3.4"))))
        #expect(try #require(Prefix("fd00::/64")).overlaps(try #require(Prefix("fd00::1/128"))))
        #expect(try #require(Prefix("fd00::/70")).contains(try #require(IPAddress("fd00::3ff:ffff:ffff:ffff"))))
        #expect(!(try #require(Prefix("fd00::/70")).contains(try #require(IPAddress("fd00::400:0:0:0")))))
    }
}
