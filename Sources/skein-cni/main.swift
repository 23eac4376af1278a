import CNI
import IO

// A container runtime calls this, with CNI_* in the environment and the configuration on standard input.

func run() -> Int32 {
    let plugin = CNIPlugin(variable: Environment.variable)
    let answer = plugin.run(input: StandardInput.read(limit: CNIPlugin.inputMax))
    Console.out(answer.output)
    return answer.status
}

Environment.exit(run())
