target "a" {
  tags = ["base:${length(target.b.tags)}"]
  args = { from = target.b.args.V, ctx = target.b.context, first = target.b.tags[0] }
  platforms = group.g.targets
}
target "b" {
  context = "dir"
  tags = ["b:1", "b:2"]
  args = { V = "vb" }
}
group "g" { targets = ["linux/amd64", "linux/arm64"] }
