function "tag" {
  params = [name]
  variadic_params = rest
  result = ["${name}:${join("-", rest)}", "${upper(name)}"]
}
function "twice" {
  params = [x]
  result = x * 2
}
variable "BASE" { default = "img" }
target "default" {
  tags = tag(BASE, "1", "2")
  args = { n = twice(twice(3)) }
}
