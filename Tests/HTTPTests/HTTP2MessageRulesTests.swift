import Testing

@testable import HTTP

@Suite("Rules of HTTP/2 messages")
struct HTTP2MessageRulesTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// Whether these fields make a head, each pseudo-header field and each other in the order given.
    private func request(
        _ fields: [(String, String)], allowsProtocol: Bool = false, hasHost: Bool = false
    ) -> (isWhole: Bool, rules: HTTP2MessageRules) {
        var rules = HTTP2MessageRules()
        do throws(HTTPFieldError) {
            for (name, value) in fields {
                guard name.hasPrefix(":") else {
                    rules.fieldCame()
                    _ = try rules.allows(.of(lowercased: bytes(name).span.bytes), bytes(value).span.bytes)
                    continue
                }
                guard let pseudo = HTTP2MessageRules.Pseudo.of(bytes(name).span.bytes) else { return (false, rules) }
                try rules.take(pseudo, bytes(value).span.bytes, allowsProtocol: allowsProtocol)
                if pseudo == .method { rules.take(HTTPMethod.of(bytes(value).span.bytes)) }
            }
        } catch {
            return (false, rules)
        }
        return (rules.requestIsWhole(hasHost: hasHost), rules)
    }

    private let get = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]

    @Test("ATK-13 a request has each of its pseudo-header fields once, with a value, before all other fields")
    func pseudoFields() {
        #expect(request(get).isWhole)
        #expect(request(Array(get.dropLast()), hasHost: true).isWhole)
        #expect(!request(Array(get.dropLast())).isWhole)
        for index in get.indices {
            var fields = get
            fields.remove(at: index)
            #expect(!request(fields).isWhole, "without \(get[index].0)")
            #expect(!request(get + [get[index]]).isWhole, "\(get[index].0) twice")
            #expect(!request(fields + [("x", "1"), get[index]]).isWhole, "\(get[index].0) behind a field")
            #expect(!request(fields + [(get[index].0, "")]).isWhole, "\(get[index].0) empty")
        }
        for name in [":", ":status", ":foo", ":PATH", ":methox", ":authoritx", ":protocol"] {
            #expect(!request(get + [(name, "200")]).isWhole, "\(name)")
        }
        #expect(!request([get[0], get[1], (":path", "x"), get[3]]).isWhole)
        #expect(!request([get[0], get[1], (":path", "*"), get[3]]).isWhole)
        #expect(request([(":method", "OPTIONS"), get[1], (":path", "*"), get[3]]).isWhole)
    }

    @Test("ATK-13 CONNECT has an authority and nothing else, extended CONNECT all of them")
    func connect() {
        let connect = (":method", "CONNECT")
        #expect(request([connect, get[3]]).isWhole)
        #expect(!request([connect]).isWhole)
        #expect(!request([connect, get[1], get[3]]).isWhole)
        #expect(!request([connect, get[2], get[3]]).isWhole)
        let websocket = (":protocol", "websocket")
        #expect(request([connect, websocket] + get.dropFirst(), allowsProtocol: true).isWhole)
        #expect(!request([connect, websocket] + get.dropFirst()).isWhole)
        #expect(!request([connect, websocket, get[1], get[3]], allowsProtocol: true).isWhole)
        #expect(!request([connect, websocket, get[1], get[2]], allowsProtocol: true, hasHost: true).isWhole)
        #expect(!request(get + [websocket], allowsProtocol: true).isWhole)
    }

    @Test("ATK-13 fields of HTTP/1 connections are refused, and a content-length that is none or comes twice")
    func framingFields() {
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
            #expect(!request(get + [(name, "x")]).isWhole, "\(name)")
        }
        #expect(request(get + [("te", "Trailers")]).isWhole)
        #expect(!request(get + [("te", "gzip")]).isWhole)
        #expect(request(get + [("content-length", "0")]).isWhole)
        for value in ["", "x", "+0", "-1", "99999999999999999999"] {
            #expect(!request(get + [("content-length", value)]).isWhole, "\(value)")
        }
        #expect(!request(get + [("content-length", "0"), ("content-length", "0")]).isWhole)
    }

    /// Which pieces of these lengths may come, one after the other, and then whether the message may end.
    private func takes(_ pieces: [Int], _ rules: HTTP2MessageRules) -> [Bool] {
        var rules = rules
        return pieces.map { rules.allowsBody($0) } + [rules.mayEnd]
    }

    @Test("ATK-13 a body is as long as content-length says, piece by piece and at its end")
    func bodies() {
        let five = request(get + [("content-length", "5")]).rules
        #expect(takes([], five) == [false])
        #expect(takes([3], five) == [true, false])
        #expect(takes([3, 2], five) == [true, true, true])
        // What is broken stays broken.
        #expect(takes([3, 3, 0], five) == [true, false, false, false])
        let free = request(get).rules
        #expect(takes([], free) == [true])
        #expect(takes([1 << 40, 1], free) == [true, true, true])
    }

    private func answered(
        _ method: HTTPMethod, _ status: String, length: String? = nil
    ) -> (isWhole: Bool, rules: HTTP2MessageRules) {
        var rules = HTTP2MessageRules.response(to: method)
        do throws(HTTPFieldError) {
            _ = try rules.takeStatus(bytes(status).span.bytes)
            if let length { _ = try rules.allows(.contentLength, bytes(length).span.bytes) }
        } catch {
            return (false, rules)
        }
        return (rules.responseIsWhole(), rules)
    }

    @Test("ATK-13 a response has a status of three digits that is not 101")
    func statuses() {
        #expect(answered(.get, "200").isWhole)
        for status in ["101", "20", "2000", "abc", "", "-20"] { #expect(!answered(.get, status).isWhole, "\(status)") }
        var none = HTTP2MessageRules.response(to: .get)
        let isWhole = none.responseIsWhole()
        #expect(!isWhole)
    }

    @Test("ATK-13 an interim response ends nothing, and no body comes before the final head")
    func interim() throws {
        var rules = answered(.get, "103").rules
        #expect(takes([], rules) == [false])
        #expect(takes([1], rules) == [false, false])
        let status = try rules.takeStatus(bytes("200").span.bytes)
        let isWhole = rules.responseIsWhole()
        #expect(status == 200 && isWhole)
        #expect(takes([1], rules) == [true, true])
    }

    @Test("ATK-13 answers to HEAD, 204 and 304 have no body, whatever their content-length says")
    func answersWithoutBody() {
        for (method, status, length) in [(HTTPMethod.head, "200", "5"), (.get, "304", "5"), (.get, "204", nil)] {
            let (isWhole, rules) = answered(method, status, length: length)
            #expect(isWhole, "\(status)")
            #expect(takes([], rules) == [true], "\(status)")
            #expect(takes([1], rules) == [false, false], "\(status)")
        }
        #expect(!answered(.get, "204", length: "5").isWhole)
        #expect(!answered(.get, "103", length: "5").isWhole)
        // A tunnel's answer has no length.
        #expect(takes([100], answered(.connect, "200", length: "5").rules) == [true, true])
    }
}
