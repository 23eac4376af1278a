/// What a runtime asks for in `CNI_COMMAND`.
enum CNIVerb: String, CaseIterable {
    case add = "ADD"
    case delete = "DEL"
    case check = "CHECK"
    case collect = "GC"
    case status = "STATUS"
    case version = "VERSION"

    /// The first version of the specification that has it.
    var since: CNIVersion {
        switch self {
        case .add, .delete, .version: .v0_1_0
        case .check: .v0_4_0
        case .collect, .status: .v1_1_0
        }
    }
}
