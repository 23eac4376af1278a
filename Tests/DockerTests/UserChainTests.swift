import Testing

@testable import Docker

@Suite("Rules in Docker's own chain")
struct UserChainTests {
    @Test("of a listing exactly the rules of networks that nobody knows are deleted, word by word")
    func lost() {
        let listing = """
            -N DOCKER-USER
            -A DOCKER-USER -o skb-k1 -m conntrack --ctstate RELATED,DNAT -m comment --comment "skein-docker k1" -j ACCEPT
            -A DOCKER-USER -i skb-k2 -m comment --comment "skein-docker k2" -j ACCEPT
            -A DOCKER-USER -m devgroup --src-group 0x7 -m comment --comment "skein pods" -j ACCEPT
            -A DOCKER-USER -i eth0 -m comment --comment "of \\"somebody\\" else" -j DROP
            -A DOCKER-USER -j RETURN
            """
        #expect(
            UserChain.lost(listing, notePrefix: "skein-docker ", keeping: ["skein-docker k2"]) == [
                [
                    "-D", "DOCKER-USER", "-o", "skb-k1", "-m", "conntrack", "--ctstate", "RELATED,DNAT", "-m",
                    "comment",
                    "--comment", "skein-docker k1", "-j", "ACCEPT",
                ]
            ])
        #expect(UserChain.lost("", notePrefix: "skein-docker ", keeping: []).isEmpty)
    }
}
