variable "TAG" {
  default = "latest"
  description = "The tag"
}
variable "NUM" { default = 3 }
variable "FLAG" { default = false }
variable "EMPTY" {}
variable "LIST" { default = ["a", "b"] }
variable "DERIVED" { default = "${TAG}-${NUM + 1}" }
target "default" {
  tags = ["app:${TAG}", "app:${DERIVED}"]
  args = {
    num = NUM
    flag = FLAG
    empty = EMPTY
    list = join(",", LIST)
    cond = FLAG ? "yes" : "no"
  }
}
