target "default" {
  output = ["type=image,push=true,\"name=a,b\"", { type = "local", dest = "d" }, "-"]
  cache-from = ["a/b,c/d", "type=gha,scope=x", { type = "registry", ref = "q" }]
  cache-to = ["type=inline", { type = "local", dest = "x", mode = "max" }]
  secret = ["id=a,src=f", { id = "b", env = "B" }, "type=env,id=c", "type=env,id=d,src=D"]
  attest = ["type=provenance,mode=max", { type = "sbom" }, "type=provenance,disabled=true"]
  annotations = ["index:k=v ${"$"}{x}"]
}
