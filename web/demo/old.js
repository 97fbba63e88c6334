// Runs only in browsers without module scripts; written in the oldest JavaScript, because nothing newer would be read there.
var blocker = document.getElementById('unsupported');
blocker.textContent = 'This browser is too old for video calls. Please use a current Chrome, Edge, Firefox or Safari.';
blocker.hidden = false;
