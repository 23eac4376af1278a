/// Something that is not so yet.
public enum WhatIf: Sendable, Hashable {
    /// So many times as many requests come in from outside to a workload.
    case rate(String, factor: Double)
    /// Its own time is longer, in milliseconds.
    case add(String, milliseconds: Double)
    /// It has so many pods.
    case replicas(String, Int)
    /// It gets this share of the calls that go to it and to the other workloads of its service together.
    case split(service: [String], to: String, share: Double)
    /// A node is gone with its pods; nobody starts them elsewhere.
    case loseNode(String)
    /// A workload has one pod less.
    case losePod(String)

    /// What is understood, for messages.
    static let known =
        "'rate WORKLOAD x2', 'add 50ms WORKLOAD', 'replicas WORKLOAD=5', 'split W1,W2 W2=20%', 'lose node NODE', 'lose pod WORKLOAD'"

    /// Reads `rate web x2`, `add 50ms ratings`, `replicas orders=5`, `split reviews-v1,reviews-v2 reviews-v2=20%`, `lose node b`, `lose pod web`.
    public init(_ text: String) throws(PlanRefusal) {
        let words = text.split(separator: " ").map(String.init)
        func number(_ text: Substring, _ suffix: String) -> Double? {
            guard text.hasSuffix(suffix), let value = Double(text.dropLast(suffix.count)), value.isFinite, value >= 0
            else {
                return nil
            }
            return value
        }
        switch (words.first, words.count) {
        case ("rate", 3) where words[2].hasPrefix("x"):
            guard let factor = number(words[2].dropFirst(), "") else { break }
            self = .rate(words[1], factor: factor)
            return
        case ("add", 3):
            guard let time = number(words[1][...], "ms") ?? number(words[1][...], "s").map({ $0 * 1000 }) else { break }
            self = .add(words[2], milliseconds: time)
            return
        case ("replicas", 2):
            let parts = words[1].split(separator: "=")
            guard parts.count == 2, let count = Int(parts[1]), count > 0, count <= 10_000 else { break }
            self = .replicas(String(parts[0]), count)
            return
        case ("split", 3):
            let parts = words[2].split(separator: "=")
            guard parts.count == 2, let share = number(parts[1], "%"), share <= 100 else { break }
            self = .split(
                service: words[1].split(separator: ",").map(String.init), to: String(parts[0]), share: share / 100)
            return
        case ("lose", 3) where words[1] == "node":
            self = .loseNode(words[2])
            return
        case ("lose", 3) where words[1] == "pod":
            self = .losePod(words[2])
            return
        default: break
        }
        throw PlanRefusal("\"\(text)\": known are \(Self.known)")
    }
}
