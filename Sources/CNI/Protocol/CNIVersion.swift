/// A version of the CNI specification that we speak.
enum CNIVersion: String, CaseIterable, Comparable {
    case v0_1_0 = "0.1.0"
    case v0_2_0 = "0.2.0"
    case v0_3_0 = "0.3.0"
    case v0_3_1 = "0.3.1"
    case v0_4_0 = "0.4.0"
    case v1_0_0 = "1.0.0"
    case v1_1_0 = "1.1.0"

    /// The newest, for answers to a configuration whose version we could not read.
    static let newest = CNIVersion.v1_1_0

    static func < (left: CNIVersion, right: CNIVersion) -> Bool { left.number < right.number }

    private var number: Int { CNIVersion.allCases.firstIndex(of: self) ?? 0 }
}
