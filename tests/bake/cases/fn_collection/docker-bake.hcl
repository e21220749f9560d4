target "default" {
  args = {
    a = jsonencode(chunklist(["a", "b", "c"], 2))
    b = coalesce("", "x")
    b2 = coalesce(null, "x")
    c = jsonencode(coalescelist([], ["y"]))
    d = jsonencode(compact(["a", "", "b"]))
    e = jsonencode(concat(["a"], ["b", "c"], []))
    f = "${contains(["a", "b"], "b")} ${contains(["a"], "z")}"
    g = jsonencode(distinct(["a", "b", "a"]))
    h = "${element(["a", "b", "c"], 4)} ${length("x" == "x" ? ["q"] : [])}"
    i = jsonencode(flatten([["a"], ["b", ["c"]]]))
    j = "${hasindex(["a"], 0)} ${hasindex(["a"], 1)} ${index(["x", "y"], 1)} ${indexof(["x", "y"], "y")}"
    k = jsonencode(keys({ b = 1, a = 2 }))
    l = jsonencode(values({ b = 1, a = 2 }))
    m = lookup({ a = "1" }, "z", "def")
    n = jsonencode(merge({ a = 1 }, { b = 2, a = 3 }))
    o = jsonencode(range(3))
    p = jsonencode(range(1, 10, 4))
    q = jsonencode(reverselist(["a", "b"]))
    r = jsonencode(setproduct(["a", "b"], ["1", "2"]))
    s = jsonencode(slice(["a", "b", "c", "d"], 1, 3))
    t = jsonencode(sort(["b", "a"]))
    u = jsonencode(zipmap(["a", "b"], [1, 2]))
    v = jsonencode(setunion(["a", "b"], ["b", "c"]))
    w = jsonencode(setintersection(["a", "b"], ["b", "c"]))
    x = jsonencode(setsubtract(["a", "b"], ["b"]))
    y = jsonencode(setsymmetricdifference(["a", "b"], ["b", "c"]))
    z = "${sethaselement(["a"], "a")}"
    za = "${try(jsondecode("{"), "fallback")} ${can(jsondecode("{"))} ${can("x")} ${jsonencode(convert(["a"], list(string)))} ${convert("3", number) + 1}"
  }
}
