variable "V" { default = "over" }
target "default" { args = { b = "over", c = "over" } }
