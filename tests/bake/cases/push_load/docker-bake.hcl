group "default" { targets = ["none", "image", "docker", "registry", "local"] }
target "none" {}
target "image" { output = ["type=image"] }
target "docker" { output = ["type=docker"] }
target "registry" { output = ["type=registry"] }
target "local" { output = ["out"] }
