export function About() {
  return <p>A varve is a yearly layer of lake sediment.</p>;
}
