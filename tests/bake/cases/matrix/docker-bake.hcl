target "app" {
  name = "app-${tgt}-${v.major}"
  matrix = {
    tgt = ["lint", "build"]
    v = [{ major = 1, name = "one" }, { major = 2, name = "two" }]
  }
  target = tgt
  args = { V = v.name }
}
group "default" { targets = ["app"] }
