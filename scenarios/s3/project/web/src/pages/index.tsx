import type { ReactElement } from 'react';
import { About } from './about';
import { Cores } from './cores';

/** The page of an address; null where there is none. */
export function page(path: string): ReactElement | null {
  if (path === '/') return <Cores />;
  if (path === '/about') return <About />;
  return null;
}
