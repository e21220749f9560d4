import { useState } from 'react';
import { sample, type Layer } from '../../lib/cores';

export function Cores() {
  const [chosen, choose] = useState<Layer | null>(null);
  return (
    <main>
      <h1>Sediment cores</h1>
      <ol>
        {sample(24).map((layer) => (
          <li key={layer.year} onClick={() => choose(layer)} style={{ height: `${layer.millimetres * 4}px` }}>
            {layer.year}
          </li>
        ))}
      </ol>
      {chosen && <p>{`${chosen.year}: ${chosen.millimetres} mm`}</p>}
    </main>
  );
}
