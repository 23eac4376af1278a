import Serialization
import Testing

@Suite("YAML")
struct YAMLTests {
    private func one(_ text: String) throws -> JSON {
        let documents = try YAML.parse(text, file: "f.yaml")
        return try #require(documents.first).json
    }

    @Test("where fractions are text, only whole numbers are numbers")
    func fractionsAreText() throws {
        let text = "[7e5, 0.5, 1., -.5, .inf, .nan, +1.5, 1_000, 0644, 0x1F, -3, 18446744073709551615, 1.2.3, yes]"
        let json = try #require(YAML.parse(text, fractionsAreText: true).first).json
        #expect(
            json
                == .array([
                    "7e5", "0.5", "1.", "-.5", ".inf", ".nan", "+1.5", "1_000", 420, 31, -3, "18446744073709551615",
                    "1.2.3", true,
                ]))
    }

    @Test("scalars are read as Kubernetes reads them")
    func scalars() throws {
        let text = """
            integer: 10
            octal: 0644
            octal12: 0o17
            hexadecimal: 0x1F
            float: 1.5
            exponent: 1e3
            yes: yes
            quoted: "yes"
            truth: True
            nothing: ~
            empty:
            version: 1.2.3
            time: 12:30:45
            date: 2001-01-01
            quantity: 500m
            minus: -3
            text: hello world
            big: 18446744073709551615
            tagged: !!str 5
            not-octal: 089
            zero: 0
            largest: 9223372036854775807
            duration: 15s
            network: 10.0.0.0/8
            eighteen: 999999999999999999
            """
        let json = try one(text)
        #expect(json["integer"] == 10)
        #expect(json["octal"] == 420)
        #expect(json["octal12"] == 15)
        #expect(json["hexadecimal"] == 31)
        #expect(json["float"] == 1.5)
        #expect(json["exponent"] == .number(1000))
        #expect(json["true"] == true)
        #expect(json["quoted"] == "yes")
        #expect(json["truth"] == true)
        #expect(json["nothing"] == .some(.null))
        #expect(json["empty"] == .some(.null))
        #expect(json["version"] == "1.2.3")
        #expect(json["time"] == "12:30:45")
        #expect(json["date"] == "2001-01-01")
        #expect(json["quantity"] == "500m")
        #expect(json["minus"] == -3)
        #expect(json["text"] == "hello world")
        #expect(json["big"] == .number(18_446_744_073_709_551_616))
        #expect(json["tagged"] == "5")
        #expect(json["not-octal"] == 89)
        #expect(json["zero"] == 0)
        #expect(json["largest"] == .integer(.max))
        #expect(json["duration"] == "15s")
        #expect(json["network"] == "10.0.0.0/8")
        #expect(json["eighteen"] == .integer(999_999_999_999_999_999))
    }

    @Test("blocks, anchors, aliases and merge keys are read")
    func structure() throws {
        let text = """
            base: &base {a: 1, b: 2}
            derived:
              <<: *base
              b: 3
            again: *base
            script: |
              one
              two
            folded: >-
              one
              two
            """
        let json = try one(text)
        #expect(json["derived"] == ["a": 1, "b": 3])
        #expect(json["again"] == ["a": 1, "b": 2])
        #expect(json["script"] == "one\ntwo\n")
        #expect(json["folded"] == "one two")
    }

    @Test("each document knows the lines of its paths")
    func lines() throws {
        let text =
            "# head\na: 1\n---\n---\nmetadata:\n  labels:\n    app.kubernetes.io/name: x\nspec:\n- name: b\n  image: c\n"
        let documents = try YAML.parse(text, file: "f.yaml")
        #expect(documents.count == 2)
        #expect(documents[0].line(of: "a") == 2)
        #expect(documents[1].line(of: "metadata.labels.app.kubernetes.io/name") == 7)
        #expect(documents[1].line(of: "spec[0].image") == 10)
        #expect(documents[1].line(of: "spec[0].missing.deeper") == 9)
        #expect(documents[1].line(of: "nowhere") == 5)
    }

    @Test(
        "an error names file and line",
        arguments: [
            ("a: 1\nb: [1\n", "f.yaml:3: did not find expected ',' or ']' while parsing a flow sequence"),
            ("a: 1\na: 2\n", "f.yaml:2: the key \"a\" is there twice (a)"),
            ("a:\n  b: *x\n", "f.yaml:2: there is no anchor x before this alias"),
            ("a: .inf\n", "f.yaml:1: .inf has no place in JSON"),
            ("? [1]\n: 2\n", "f.yaml:1: a key must be a scalar"),
            ("a: !thing x\n", "f.yaml:1: unknown tag !thing"),
            (
                "a: b\n\tc: d\n",
                "f.yaml:2: found a tab character that violates indentation while scanning a plain scalar"
            ),
        ])
    func errors(text: String, message: String) throws {
        let error = try #require(throws: YAMLError.self) { try YAML.parse(text, file: "f.yaml") }
        #expect(error.description == message)
    }

    @Test("a document that doubles itself with every line is refused")
    func bomb() {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<30 {
            text += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1), *a\(level - 1)]\n"
        }
        #expect(throws: YAMLError.self) { try YAML.parse(text) }
    }

    @Test("100 levels are read, 101 are refused, also through aliases")
    func depth() throws {
        func nested(_ levels: Int) -> String {
            String(repeating: "[", count: levels) + String(repeating: "]", count: levels)
        }
        _ = try YAML.parse(nested(100))
        #expect(throws: YAMLError.self) { try YAML.parse(nested(101)) }
        #expect(throws: YAMLError.self) { try YAML.parse(String(repeating: "[", count: 100_000)) }
        #expect(throws: YAMLError.self) {
            try YAML.parse("- &a \(nested(60))\n- \(String(repeating: "[", count: 50))*a")
        }
    }

    @Test("values are written as kubectl prints them")
    func writing() {
        let json: JSON = [
            "apiVersion": "v1",
            "spec": ["ports": [["name": "http", "port": 80], ["port": 81]], "selector": [:], "args": []],
            "status": .null,
            "string": ["true", "1", "", "a: b", "- x", "#x", "it's", "*", "1.10", "x\ny\n", "x\ny", " x"],
        ]
        let text = """
            apiVersion: v1
            spec:
              args: []
              ports:
              - name: http
                port: 80
              - port: 81
              selector: {}
            status: null
            string:
            - "true"
            - "1"
            - ""
            - 'a: b'
            - '- x'
            - '#x'
            - it's
            - '*'
            - "1.10"
            - |
              x
              y
            - |-
              x
              y
            - ' x'

            """
        #expect(YAML.write(json) == text)
    }

    @Test("what is written is read again")
    func roundTrip() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = Seeded(seed)
        for _ in 0..<1000 {
            let value = JSON.random(using: &random, depth: 4)
            let text = YAML.write(.object(["value": value]))
            let read = try YAML.parse(text).first?.json
            #expect(read == .object(["value": value]), "seed \(seed): \(text)")
        }
    }

    @Test(
        "a key that is longer than readers look for its colon is written so that they find it",
        arguments: [1022, 1023, 1024, 1025, 5000])
    func longKeys(count: Int) throws {
        for letter in ["k", "é", "\u{1}", ":"] {
            let key = String(repeating: letter, count: count)
            let named: JSON = .object([key: [.string(key)]])
            let inner: JSON = .object(["a": [1, .object([key: "x"])], key: .object([key: [named]])])
            let value: JSON = .object([key: inner, "list": [.object([key: .null, "z": [inner]])]])
            let text = YAML.write(value)
            #expect(try YAML.parse(text).first?.json == value, "\(text)")
        }
    }

    @Test("no bytes make the reader trap")
    func noise() {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = Seeded(seed)
        let pieces = [
            "a", ":", " ", "\n", "-", "[", "]", "{", "}", "&a", "*a", "|", ">", "'", "\"", "#", "!", "<<", "\t", "%",
            "é",
        ]
        for _ in 0..<2000 {
            let count = Int.random(in: 0..<30, using: &random)
            _ = try? YAML.parse((0..<count).map { _ in pieces.randomElement(using: &random) ?? "" }.joined())
        }
    }

    @Test("a member that is tagged !ignore is there for its anchors alone")
    func ignored() throws {
        let document = try #require(
            YAML.parse("base: !ignore &b {x: 1}\nname: !ignore &n text\n!ignore list: [1]\nown: *b\nsaid: *n\n").first)
        #expect(document.json == .object(["own": .object(["x": .integer(1)]), "said": .string("text")]))
    }
}
