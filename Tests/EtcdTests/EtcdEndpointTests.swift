import Etcd
import Testing

@Suite("etcd endpoints")
struct EtcdEndpointTests {
    @Test(
        "are URLs, or host and port",
        arguments: [
            ("https://etcd-1.example:2379", "https://etcd-1.example:2379"),
            ("http://127.0.0.1:4001/", "http://127.0.0.1:4001"),
            ("10.0.0.1", "http://10.0.0.1:2379"),
            ("https://[fd00::1]:2379", "https://[fd00::1]:2379"),
            ("[::1]", "http://[::1]:2379"),
        ])
    func reads(_ text: String, _ expected: String) { #expect(EtcdEndpoint(text)?.description == expected) }

    @Test(
        "that cannot be meant are refused",
        arguments: [
            "", "https://", "ftp://a:1", "a:0", "a:70000", "a:b", "http://a/b", "http://user@a:1",
        ])
    func refuses(_ text: String) { #expect(EtcdEndpoint(text) == nil) }
}
