import { hydrateRoot } from 'react-dom/client';
import { page } from './pages';

const found = page(window.location.pathname);
const root = document.getElementById('root');
if (found && root) hydrateRoot(root, found);
