import Serialization
import Testing

@Suite("JSON")
struct JSONTests {
    @Test("values are read as RFC 8259 says")
    func values() throws {
        #expect(try JSON.parse(" {\"a\":[1,-2.5,true,null,\"x\"]}\n") == ["a": [1, -2.5, true, .null, "x"]])
        #expect(try JSON.parse("9223372036854775807") == .integer(.max))
        #expect(try JSON.parse("-9223372036854775808") == .integer(.min))
        #expect(try JSON.parse("9223372036854775808") == .number(9_223_372_036_854_775_808))
        #expect(try JSON.parse("1e3") == .number(1000))
        #expect(try JSON.parse(#""\u00e9\ud83d\ude00\/\n""#) == .string("é😀/\n"))
        #expect(try JSON.parse("[]") == .array([]))
        #expect(try JSON.parse("{}") == .object([:]))
    }

    @Test(
        "what is no JSON is refused",
        arguments: [
            "", " ", "nul", "truex", "[1,]", "[1 2]", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "01", "-", "1.", ".5", "1e",
            "+1", "0x1", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\n\"",
            "1 2", "{\"a\":1,\"a\":2}", "1e999", "[", "{", "{\"a\"", "NaN", "'a'",
        ])
    func refused(text: String) {
        #expect(throws: JSONError.self) { try JSON.parse(text) }
    }

    @Test("bytes that are not UTF-8 are refused")
    func notUTF8() {
        #expect(throws: JSONError.self) { try JSON.parse([0x22, 0xC0, 0x80, 0x22]) }
        #expect(throws: JSONError.self) { try JSON.parse([0x22, 0xED, 0xA0, 0x80, 0x22]) }
    }

    @Test("100 levels are read, 101 are refused")
    func depth() throws {
        func nested(_ levels: Int) -> String {
            String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
        }
        _ = try JSON.parse(nested(100))
        #expect(throws: JSONError.self) { try JSON.parse(nested(101)) }
        #expect(throws: JSONError.self) { try JSON.parse(String(repeating: "[", count: 1_000_000)) }
        #expect(throws: JSONError.self) { try JSON.parse(String(repeating: "{\"a\":", count: 1_000_000)) }
    }

    @Test("an error names line and column")
    func position() throws {
        let error = try #require(throws: JSONError.self) { try JSON.parse("{\n  \"a\": x\n}") }
        #expect(error.description == "line 2, column 8: a value is expected")
    }

    @Test("a list of objects with parts in common is the text of its objects, also with a member set")
    func list() {
        let long = String(repeating: "text without end ", count: 20)
        let shared: JSON = [
            "containers": [["name": "main", "args": ["a \"quoted\" one", .string(long), .string(long + "\n\u{7F}")]]],
            "x": [:],
        ]
        let wide = JSON.object(Dictionary(uniqueKeysWithValues: (0..<40).map { ("member-\($0)", .integer(Int64($0))) }))
        var objects: [JSON] = (0..<50).map { number in
            [
                "metadata": ["name": .string("n\(number)"), "resourceVersion": "old", "labels": wide], "spec": shared,
                "status": number % 2 == 0 ? shared : ["conditions": [shared, wide, .array([]), .null]],
            ]
        }
        objects += [["metadata": [:]], ["kind": "x"], [:], "text", ["metadata": "odd", "a": 1]]
        var writer = JSONListWriter()
        var changed = JSONListWriter()
        var inner = JSONListWriter()
        for object in objects {
            writer.value(object)
            changed.value(object, setting: "resourceVersion", of: "metadata", to: "new")
            if let metadata = object["metadata"] { inner.value(metadata, setting: "resourceVersion", to: "new") }
        }
        #expect(String(decoding: writer.finish(), as: UTF8.self) == objects.map(\.text).joined())
        let set = objects.map { object in
            var object = object
            if object["metadata"]?.object != nil { object["metadata"]?["resourceVersion"] = "new" }
            return object
        }
        #expect(String(decoding: changed.finish(), as: UTF8.self) == set.map(\.text).joined())
        #expect(String(decoding: inner.finish(), as: UTF8.self) == set.compactMap { $0["metadata"]?.text }.joined())
    }

    @Test("equal values have equal texts")
    func writing() {
        let value: JSON = ["b": [1, 2.5, .null], "a": "\u{1}\"\\\n\u{7F}é"]
        #expect(value.text == #"{"a":"\u0001\"\\\n\u007fé","b":[1,2.5,null]}"#)
        #expect(JSON.object([:]).pretty == "{}")
        #expect(JSON.object(["a": [1]]).pretty == "{\n  \"a\": [\n    1\n  ]\n}")
        #expect(JSON.number(.infinity).text == "null")
    }

    @Test("members stand in the order of their names at every level, few or many, whatever the names have in common")
    func order() {
        let names = ["", "a", "a-b", "aa", "b", "é", "\"q", "long name of many letters", "z"]
        let few = JSON.object(Dictionary(uniqueKeysWithValues: names.map { ($0, JSON.string($0)) }))
        let many = JSON.object(
            Dictionary(uniqueKeysWithValues: (100..<300).map { ("key-\($0)", ["b": .integer(Int64($0)), "a": few]) }))
        let outer: JSON = ["x": few, "many": many, "list": [few, [:], ["only": 1]]]
        let fewText =
            #"{"":"","\"q":"\"q","a":"a","a-b":"a-b","aa":"aa","b":"b","long name of many letters":"#
            + #""long name of many letters","z":"z","é":"é"}"#
        let manyText = (100..<300).map { "\"key-\($0)\":{\"a\":\(fewText),\"b\":\($0)}" }.joined(separator: ",")
        #expect(outer.text == "{\"list\":[\(fewText),{},{\"only\":1}],\"many\":{\(manyText)},\"x\":\(fewText)}")
    }

    @Test("what is written is read again")
    func roundTrip() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = Seeded(seed)
        for _ in 0..<500 {
            let value = JSON.random(using: &random, depth: 4)
            #expect(try JSON.parse(value.text) == value, "seed \(seed)")
            #expect(try JSON.parse(value.pretty) == value, "seed \(seed)")
        }
    }

    @Test("no bytes make the parser trap")
    func noise() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = Seeded(seed)
        let alphabet = Array("{}[]\",:\\ue1234d8+-.tfn \n".utf8) + [0xC3, 0xFF, 0]
        for _ in 0..<2000 {
            let count = Int.random(in: 0..<40, using: &random)
            _ = try? JSON.parse((0..<count).map { _ in alphabet.randomElement(using: &random) ?? 0 })
        }
    }
}

/// A random source that can be started again (xorshift64*).
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed | 1 }

    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 2_685_821_657_736_338_717
    }
}

extension JSON {
    static func random(using random: inout Seeded, depth: Int) -> JSON {
        switch Int.random(in: 0..<(depth > 0 ? 9 : 6), using: &random) {
        case 0: return .null
        case 1: return .bool(.random(using: &random))
        case 2: return .integer(.random(in: .min ... .max, using: &random) >> Int64.random(in: 0..<60, using: &random))
        case 3: return .number(Double.random(in: -1e9...1e9, using: &random))
        case 4, 5: return .string(randomText(using: &random))
        case 6:
            return .array(
                (0..<Int.random(in: 0..<4, using: &random)).map { _ in JSON.random(using: &random, depth: depth - 1) })
        default:
            var members: [String: JSON] = [:]
            for _ in 0..<Int.random(in: 0..<4, using: &random) {
                members[randomText(using: &random)] = JSON.random(using: &random, depth: depth - 1)
            }
            return .object(members)
        }
    }

    private static func randomText(using random: inout Seeded) -> String {
        let pieces = [
            "a", "B", "1", "0", ".", "-", ":", " ", "\n", "#", "'", "\"", "\\", "é", "😀", "{", "]", "yes", "null", "~",
            "\t", "%", "&", "*", "!", "|", ">", "?", ",", "@", "e5", "0x1f", "2020-01-01", "<<", "\u{85}", "\u{7F}",
            "\r",
        ]
        return (0..<Int.random(in: 0..<5, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }
            .joined()
    }
}
